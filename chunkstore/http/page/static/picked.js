// Files as they come from a button or a drop, folders among them.

import { folder } from "./server.js";

/** From an `<input type=file>`, which gives the paths in a folder that was chosen. */
export function filesOfInput(input) {
  return [...input.files].map((file) => wanted(file, file.webkitRelativePath || file.name));
}

/** From a drop. The entries must be taken before the event ends, so nothing is awaited first. */
export async function filesOfDrop(dataTransfer) {
  const entries = [...dataTransfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) {
    if (entry instanceof File) {
      found.push(wanted(entry, entry.name));
    } else {
      await walk(entry, found);
    }
  }
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push(wanted(file, entry.fullPath.slice(1)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A folder comes in parts; an empty one is its end.
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) {
      return;
    }
    for (const inner of part) {
      await walk(inner, found);
    }
  }
}

/** The server keeps names in NFC, so the same file must have the same name here. */
function wanted(file, path) {
  return { file, target: (folder + path).normalize("NFC") };
}
