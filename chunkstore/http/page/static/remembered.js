// Uploads under way, kept by the browser so that they survive a reload of the page.
//
// A file is known again by where it goes, its size and when it was changed: a page may not keep
// the file itself, so the same one must be picked or dropped again. Where the browser keeps
// nothing, because it is full or site data is blocked, uploads only do not survive a reload.

import { uploads } from "./server.js";

const PREFIX = `chunkstore ${uploads} `;

// Those of this visit, whatever becomes of the browser's storage.
const kept = new Map();

/**
 * `offset` is how much of the file is there; `spares` tells in which of two ways it is sent, and
 * `spared` how much was not, of what the server has on the upload's list.
 */
export function remember(file, target, { url, offset, expires, spares, spared }) {
  const { size, lastModified } = file;
  const record = { target, size, lastModified, url, offset, expires, spares, spared };
  const key = keyOf(file, target);
  kept.set(key, record);
  inStorage((storage) => storage.setItem(key, JSON.stringify(record)));
}

export function recall(file, target) {
  const key = keyOf(file, target);
  return kept.get(key) ?? read(key);
}

export function forget(file, target) {
  drop(keyOf(file, target));
}

/** All that the server still has, as far as can be told without asking it. */
export function remembered() {
  const keys = inStorage((storage) => Object.keys(storage)) ?? [];
  const mine = keys.filter((key) => key.startsWith(PREFIX));
  return mine.map(read).filter((record) => record !== null);
}

/** What a file on its way to `target` is known by. */
export function keyOf({ size, lastModified }, target) {
  return PREFIX + JSON.stringify([target, size, lastModified]);
}

function read(key) {
  const record = parse(inStorage((storage) => storage.getItem(key)));
  if (record === null || record.expires < Date.now()) {
    drop(key);
    return null;
  }
  return record;
}

/** What was written here, null for anything else: others write to this storage too. */
function parse(text) {
  try {
    const record = JSON.parse(text);
    const { target, url, offset, size } = record;
    const mine = [target, url].every((one) => typeof one === "string");
    return mine && [offset, size].every(Number.isFinite) ? record : null;
  } catch {
    return null;
  }
}

function drop(key) {
  kept.delete(key);
  inStorage((storage) => storage.removeItem(key));
}

/** Use the browser's storage; where that is forbidden already its name throws. */
function inStorage(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}
