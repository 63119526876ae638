// The page by which somebody without an account sends files.

import { setUpDialogs } from "./dialogs.js";
import { setUpUploads } from "./uploads.js";

setUpDialogs();
setUpUploads(() => {});
