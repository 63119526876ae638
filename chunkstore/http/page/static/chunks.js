// The requests by which a file is sent as the list of its chunks, as docs/sync.md has them.

import { DIGEST_SIZE, joined, keysIn } from "./digests.js";
import { manifestOf, Problem, send, urlAt, urlOf } from "./server.js";

const DIGESTS = "application/vnd.chunkstore.digests";
const MANIFEST = "application/vnd.chunkstore.manifest";
const PACK = "application/vnd.chunkstore.pack";
const ENTRY_SIZE = 36;
const RECORD_HEAD_SIZE = 44;
// Where the server does not tell; when it asks for one that is gone, the page begins another.
const A_DAY_SECONDS = 86_400;
const JSON_ANSWER = { Accept: "application/json" };

let told = null;

/**
 * Return how the server takes chunks, `{ chunkSize, maxDigests, maxPackSize }`: null where it does
 * not, or cuts what it is sent in a way in which nothing is cut here.
 */
export async function abilities() {
  told ??= ask();
  try {
    return await told;
  } catch (error) {
    told = null;
    throw error;
  }
}

async function ask() {
  try {
    const xhr = await send("GET", urlAt("chunks"), JSON_ANSWER, null);
    const { chunking, ...limits } = JSON.parse(xhr.responseText);
    const fixed = /^fixed;size=(\d+)$/.exec(chunking[0]);
    return (
      fixed && {
        chunkSize: Number(fixed[1]),
        maxDigests: limits.max_digests,
        maxPackSize: limits.max_pack_size,
      }
    );
  } catch (error) {
    if (error instanceof Problem && error.temporary) {
      throw error;
    }
    return null;
  }
}

/** Begin an upload; it is create-only unless it is to replace what is there. */
export async function begin(file, target, { replace, signal }) {
  const headers = { ...JSON_ANSWER, "Upload-Length": String(file.size) };
  if (file.type) {
    headers["File-Type"] = file.type;
  }
  if (!replace) {
    headers["If-None-Match"] = "*";
  }
  const xhr = await send("POST", manifestOf(target), headers, null, { signal });
  return { ...progressOf(xhr), offset: 0, url: xhr.getResponseHeader("Location") };
}

/**
 * Ask how far an upload is: how long its list is, in bytes of content, and whether that is all. Not
 * by HEAD, whose answer says nothing of what is in the way of its becoming the file.
 */
export async function look(url, { signal }) {
  return { ...progressOf(await send("GET", url, {}, null, { signal })), url };
}

/** The keys of all chunks that an upload has been sent. */
export async function held(url, { signal }) {
  const { response } = await send("GET", `${url}/chunks`, {}, null, { signal, binary: true });
  return keysIn(new Uint8Array(response));
}

/**
 * The chunks of the file that is there, none if there is none: their keys, and whether they were
 * cut at a fixed size.
 */
export async function cut(target, { signal }) {
  try {
    const options = { signal, binary: true };
    const xhr = await send("GET", manifestOf(target), { Accept: MANIFEST }, null, options);
    const list = new DataView(xhr.response);
    const sizes = new Set();
    for (let at = 0; at + ENTRY_SIZE < list.byteLength; at += ENTRY_SIZE) {
      sizes.add(list.getUint32(at + DIGEST_SIZE));
    }
    // Only the last may be shorter.
    return { keys: keysIn(new Uint8Array(xhr.response), ENTRY_SIZE), fixed: sizes.size <= 1 };
  } catch (error) {
    if (error.status === 404) {
      return { keys: new Set(), fixed: true };
    }
    throw error;
  }
}

/**
 * The keys of those digests whose chunks the server lacks. Who may not read everything is told only
 * of the chunks of `base`, the file to be replaced, if there is one.
 */
export async function missing(digests, { base, signal }) {
  const headers = { "Content-Type": DIGESTS, ...(base && { Base: urlOf(base) }) };
  const options = { signal, binary: true };
  const xhr = await send("POST", urlAt("chunks/missing"), headers, joined(digests), options);
  return keysIn(new Uint8Array(xhr.response));
}

/** Send chunks of a file, `[{ digest, at, size }]`; the browser reads them as it sends them. */
export async function sendPack(url, file, chunks, options) {
  const records = chunks.flatMap(({ digest, at, size }) => [
    headOf(digest, size),
    file.slice(at, at + size),
  ]);
  const headers = { ...JSON_ANSWER, "Content-Type": PACK };
  return progressOf(await send("POST", `${url}/chunks`, headers, new Blob(records), options));
}

/** Add digests to the list of an upload; `last` are its last, after which the file is there. */
export async function append(url, offset, digests, { last, signal }) {
  const headers = {
    ...JSON_ANSWER,
    "Content-Type": DIGESTS,
    "Upload-Offset": String(offset),
    "Upload-Complete": last ? "?1" : "?0",
  };
  const xhr = await send("PATCH", url, headers, digests, { signal });
  const whole = last && xhr.status !== 202;
  return { ...progressOf(xhr), url, complete: whole, ...(whole ? resultOf(xhr) : {}) };
}

function headOf(digest, size) {
  const head = new DataView(new ArrayBuffer(RECORD_HEAD_SIZE));
  new Uint8Array(head.buffer).set(digest);
  // The codec, and what is reserved, are 0.
  head.setUint32(36, size);
  head.setUint32(40, size);
  return head.buffer;
}

function progressOf(xhr) {
  const limit = /max-age=(\d+)/.exec(xhr.getResponseHeader("Upload-Limit") ?? "");
  return {
    offset: Number(xhr.getResponseHeader("Upload-Offset")),
    complete: xhr.getResponseHeader("Upload-Complete") === "?1",
    digest: xhr.getResponseHeader("ETag")?.replaceAll('"', ""),
    expires: Date.now() + 1000 * Number(limit?.[1] ?? A_DAY_SECONDS),
  };
}

function resultOf(xhr) {
  const { digest, new_size: newSize } = JSON.parse(xhr.responseText);
  return { digest, newSize };
}
