// Uploads under way, kept by the browser so that they survive a reload of the page.
//
// A file is known again by where it goes, its size and when it was changed: a page may not keep
// the file itself, so the same one must be picked or dropped again.

import { uploads } from "./server.js";

const PREFIX = `chunkstore ${uploads} `;

export function remember(file, target, { url, offset, expires }) {
  const { size, lastModified } = file;
  const record = { target, size, lastModified, url, offset, expires };
  try {
    localStorage.setItem(keyOf(file, target), JSON.stringify(record));
  } catch {
    // Storage is full or forbidden; the upload goes on, only not over a reload.
  }
}

export function recall(file, target) {
  return read(keyOf(file, target));
}

export function forget(file, target) {
  localStorage.removeItem(keyOf(file, target));
}

/** All that the server still has, as far as can be told without asking it. */
export function remembered() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  return keys.map(read).filter((record) => record !== null);
}

/** What a file on its way to `target` is known by. */
export function keyOf({ size, lastModified }, target) {
  return PREFIX + JSON.stringify([target, size, lastModified]);
}

function read(key) {
  const record = JSON.parse(localStorage.getItem(key));
  if (record !== null && record.expires < Date.now()) {
    localStorage.removeItem(key);
    return null;
  }
  return record;
}
