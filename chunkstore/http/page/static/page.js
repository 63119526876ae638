// The page comes to life here. Without this module it is a list, links and forms.

import { setUpActions } from "./actions.js";
import { setUpDialogs } from "./dialogs.js";
import { refreshSoon, setUpList } from "./list.js";
import { setUpPreview } from "./preview.js";
import { setUpUploads } from "./uploads.js";

setUpDialogs();
setUpList();
setUpActions();
setUpPreview();
setUpUploads(refreshSoon);
