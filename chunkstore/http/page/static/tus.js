// A client of tus 1.0.0 (https://tus.io/protocols/resumable-upload), and of PUT for small files.

import { send as request, uploads, urlOf } from "./server.js";
import { baseName, parentOf } from "./format.js";

const TUS = { "Tus-Resumable": "1.0.0", Accept: "application/json" };
const CREATE_ONLY = { "If-None-Match": "*" };
// Below what proxies commonly allow a request's body to be.
const SLICE_SIZE = 32 * 1024 * 1024;

/** Upload all of a file by one request: for a small one, resuming is not worth the others. */
export async function put(file, target, { replace, ...options }) {
  const headers = { Accept: "application/json", ...(replace ? {} : CREATE_ONLY) };
  const xhr = await request("PUT", urlOf(target), headers, file, options);
  const { digest, new_size: newSize } = JSON.parse(xhr.responseText);
  return { offset: file.size, digest, newSize };
}

/**
 * Send a file, or go on with it where `known` tells of an upload begun for it.
 *
 * `onProgress(there)` hears how many bytes of the file are there; `onKept(record)` what to be
 * known by when it goes on later.
 */
export async function send(file, target, { known, onProgress, onKept, ...options }) {
  let progress = await open(file, target, { known, onKept, ...options });
  while (progress.offset < file.size) {
    const { url, offset } = progress;
    onProgress(offset);
    const slice = file.slice(offset, offset + SLICE_SIZE);
    const tell = (sent) => onProgress(offset + sent);
    progress = await append(url, offset, slice, { ...options, onProgress: tell });
    onKept(progress);
  }
  return progress;
}

async function open(file, target, { known, onKept, ...options }) {
  if (known) {
    try {
      return await look(known.url, options);
    } catch (error) {
      if (![404, 410].includes(error.status)) {
        throw error;
      }
    }
  }
  const progress = await begin(file, target, options);
  onKept(progress);
  return progress;
}

async function begin(file, target, { replace, signal }) {
  const metadata = { filename: baseName(target), folder: parentOf(target), filetype: file.type };
  const headers = {
    ...TUS,
    ...(replace ? {} : CREATE_ONLY),
    "Upload-Length": String(file.size),
    "Upload-Metadata": formatMetadata(metadata),
  };
  const xhr = await request("POST", uploads, headers, null, { signal });
  return { ...progressOf(xhr), url: xhr.getResponseHeader("Location") };
}

/**
 * Ask how far an upload is. Not by HEAD, whose answer says nothing of what is in the way of its
 * becoming the file.
 */
async function look(url, { signal }) {
  return { ...progressOf(await request("GET", url, TUS, null, { signal })), url };
}

async function append(url, offset, slice, { signal, onProgress }) {
  const headers = {
    ...TUS,
    "Content-Type": "application/offset+octet-stream",
    "Upload-Offset": String(offset),
  };
  return { ...progressOf(await request("PATCH", url, headers, slice, { signal, onProgress })), url };
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
