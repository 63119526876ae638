// A client of tus 1.0.0 (https://tus.io/protocols/resumable-upload), and of PUT for small files.

import { send, uploads, urlOf } from "./server.js";
import { baseName, parentOf } from "./format.js";

const TUS = { "Tus-Resumable": "1.0.0", Accept: "application/json" };
const CREATE_ONLY = { "If-None-Match": "*" };

/** Upload all of a file by one request: for a small one, resuming is not worth the others. */
export async function put(file, target, { replace, ...options }) {
  const headers = { Accept: "application/json", ...(replace ? {} : CREATE_ONLY) };
  const xhr = await send("PUT", urlOf(target), headers, file, options);
  const { digest, new_size: newSize } = JSON.parse(xhr.responseText);
  return { offset: file.size, digest, newSize };
}

/** Begin an upload; return its URL. */
export async function begin(file, target, { replace, signal }) {
  const metadata = { filename: baseName(target), folder: parentOf(target), filetype: file.type };
  const headers = {
    ...TUS,
    ...(replace ? {} : CREATE_ONLY),
    "Upload-Length": String(file.size),
    "Upload-Metadata": formatMetadata(metadata),
  };
  const xhr = await send("POST", uploads, headers, null, { signal });
  return { ...progressOf(xhr), url: xhr.getResponseHeader("Location") };
}

/** Ask how far an upload is. */
export async function look(url, { signal }) {
  return { ...progressOf(await send("HEAD", url, TUS, null, { signal })), url };
}

export async function append(url, offset, slice, options) {
  const headers = {
    ...TUS,
    "Content-Type": "application/offset+octet-stream",
    "Upload-Offset": String(offset),
  };
  return { ...progressOf(await send("PATCH", url, headers, slice, options)), url };
}

export async function end(url) {
  await send("DELETE", url, TUS, null);
}

function progressOf(xhr) {
  const newSize = xhr.getResponseHeader("Upload-New-Size");
  return {
    offset: Number(xhr.getResponseHeader("Upload-Offset")),
    expires: Date.parse(xhr.getResponseHeader("Upload-Expires")),
    digest: xhr.getResponseHeader("ETag")?.replaceAll('"', ""),
    newSize: newSize === null ? null : Number(newSize),
  };
}

function formatMetadata(metadata) {
  return Object.entries(metadata)
    .filter(([, value]) => value)
    .map(([key, value]) => `${key} ${base64(value)}`)
    .join(",");
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
