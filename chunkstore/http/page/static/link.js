// The page of a folder for somebody without an account, who can only look and download.

import { setUpActions } from "./actions.js";
import { setUpDialogs } from "./dialogs.js";
import { setUpList } from "./list.js";
import { setUpPreview } from "./preview.js";

setUpDialogs();
setUpList();
setUpActions();
setUpPreview();
