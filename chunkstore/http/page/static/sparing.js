// Sends a file as the list of its chunks, and of these only what the server lacks.
//
// The file is gone through in windows of some hundred chunks. While what is missing of one is sent
// and its list appended, the next is hashed and asked about. What has been sent stays with the
// upload, so after a pause, a reload or a restart only the list's end is hashed and asked again.

import * as chunks from "./chunks.js";
import { digestsIn, keyOf } from "./digests.js";
import { canHash, digestsOf } from "./hashing.js";
import { inLane } from "./lanes.js";
import { sendsWhole } from "./server.js";

const WINDOW_SIZE = 256 * 1024 * 1024;
const PACK_SIZE = 4 * 1024 * 1024;
const MOST_TRIES = 3;
const WAIT_MS = 1000;

/**
 * Return the keys of the chunks that the file to be replaced has, none if none is: null where the
 * file is to be sent whole, as it cannot be hashed here, or chunks cut here would not be those
 * that the server cuts.
 */
export async function prepare(target, { replace, signal }) {
  if (sendsWhole || (await chunks.abilities()) === null || !(await canHash())) {
    return null;
  }
  const base = replace ? await chunks.cut(target, { signal }) : { keys: new Set(), fixed: true };
  return base.fixed ? base.keys : null;
}

/**
 * Send a file, or go on with it where `known` tells of an upload begun for it; `base` is what
 * `prepare` returned.
 *
 * `onProgress(there, spared)` hears how many bytes of the file are there, and how many of these
 * were not sent; `onKept(record)` what to be known by when it goes on later.
 */
export async function send(file, target, { known, base, ...options }) {
  const abilities = await chunks.abilities();
  let upload = await open(file, target, { known, ...abilities, ...options });
  let trusted = base;
  for (let tries = 1; ; tries += 1) {
    const sending = new Sending(file, target, upload, { ...abilities, trusted, ...options });
    try {
      return await sending.run();
    } catch (error) {
      if (error.kind !== "chunks-missing" || tries === MOST_TRIES) {
        throw error;
      }
      // What the server had is gone meanwhile, so it is asked about all of it.
      trusted = new Set();
      upload = { ...(await resumed(upload.url, options)), spared: sending.sparedOfList };
    }
  }
}

/** Go on with the upload that was begun for this file, or begin one. */
async function open(file, target, { known, chunkSize, ...options }) {
  if (known) {
    try {
      const upload = await resumed(known.url, options);
      if (upload.offset % chunkSize === 0 || upload.offset === file.size) {
        return { ...upload, spared: known.spared ?? 0 };
      }
    } catch (error) {
      if (![404, 410].includes(error.status)) {
        throw error;
      }
    }
  }
  const upload = await chunks.begin(file, target, options);
  options.onKept({ ...upload, spared: 0 });
  return { ...upload, spared: 0, held: new Set() };
}

async function resumed(url, options) {
  const upload = await chunks.look(url, options);
  return { ...upload, held: upload.complete ? new Set() : await chunks.held(url, options) };
}

class Sending {
  /** Of what the upload's list has, what was not sent. */
  sparedOfList;
  // Bytes that are there, and of these what was not sent, on the list or not yet.
  #there;
  #spared;
  #file;
  #base;
  #upload;
  #options;
  #aborter = new AbortController();
  // Keys of chunks that need not be sent: known by the server, or sent by this upload.
  #known;
  #sent;

  constructor(file, target, upload, options) {
    this.#file = file;
    this.#base = options.replace ? target : null;
    this.#upload = upload;
    this.#options = options;
    this.#known = options.trusted;
    this.#sent = new Set(upload.held);
    this.#there = upload.offset;
    this.#spared = this.sparedOfList = upload.spared;
  }

  async run() {
    const { signal } = this.#options;
    const abort = () => this.#aborter.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await this.#sendWindows();
    } finally {
      signal.removeEventListener("abort", abort);
      // One part has failed, or all are done: the others have nothing left to do.
      this.#aborter.abort();
    }
  }

  async #sendWindows() {
    if (this.#upload.complete) {
      return this.#upload;
    }
    let window = await this.#lookAt(this.#upload.offset);
    for (;;) {
      if (window.stop === this.#file.size) {
        return this.#finish(await this.#deliver(window));
      }
      const next = this.#lookAt(window.stop);
      [window] = await Promise.all([next, this.#deliver(window)]);
    }
  }

  /** Hash the window at `start` and ask what is missing of it. */
  async #lookAt(start) {
    const { chunkSize, maxDigests } = this.#options;
    const most = Math.min(maxDigests, Math.ceil(WINDOW_SIZE / chunkSize));
    const stop = Math.min(start + most * chunkSize, this.#file.size);
    const digests = await digestsOf(this.#file, start, stop, chunkSize);
    this.#aborter.signal.throwIfAborted();
    const unknown = new Map();
    for (const digest of digestsIn(digests)) {
      const key = keyOf(digest);
      if (!this.#known.has(key) && !this.#sent.has(key)) {
        unknown.set(key, digest);
      }
    }
    const asked = [...unknown.values()];
    const options = { base: this.#base, ...this.#request() };
    const missing = asked.length ? await chunks.missing(asked, options) : new Set();
    return { start, stop, digests, ...this.#sort(start, digests, missing) };
  }

  /** Tell the chunks of a window that are to be sent from the others, which are counted. */
  #sort(start, digests, missing) {
    const wanted = [];
    let spared = 0;
    let at = start;
    for (const digest of digestsIn(digests)) {
      const key = keyOf(digest);
      const size = Math.min(this.#options.chunkSize, this.#file.size - at);
      if (missing.delete(key)) {
        this.#sent.add(key);
        wanted.push({ digest, at, size });
      } else {
        this.#there += size;
        spared += this.#upload.held.has(key) ? 0 : size;
      }
      at += size;
    }
    this.#spared += spared;
    this.#tell();
    return { wanted, spared };
  }

  /** Send what is missing of a window, then append its list. */
  async #deliver({ start, stop, digests, wanted, spared }) {
    await Promise.all(this.#packed(wanted).map((pack) => this.#sendPack(pack)));
    const last = stop === this.#file.size;
    const options = { last, ...this.#request() };
    const upload = await chunks.append(this.#upload.url, start, digests, options);
    this.sparedOfList += spared;
    this.#keep(upload);
    return upload;
  }

  #packed(wanted) {
    const { chunkSize, maxPackSize } = this.#options;
    const most = Math.max(1, Math.floor(Math.min(PACK_SIZE, maxPackSize) / chunkSize));
    const packs = [];
    for (let at = 0; at < wanted.length; at += most) {
      packs.push(wanted.slice(at, at + most));
    }
    return packs;
  }

  #sendPack(pack) {
    const total = pack.reduce((sum, { size }) => sum + size, 0);
    let counted = 0;
    const count = (sent) => {
      this.#there += Math.min(sent, total) - counted;
      counted = Math.min(sent, total);
      this.#tell();
    };
    return inLane(this.#file, async () => {
      this.#aborter.signal.throwIfAborted();
      const options = { ...this.#request(), onProgress: count };
      const { expires } = await chunks.sendPack(this.#upload.url, this.#file, pack, options);
      count(total);
      this.#keep({ expires });
    });
  }

  /** Wait until the server, which was given the whole list, has the file. */
  async #finish(upload) {
    while (!upload.complete) {
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
      upload = await chunks.look(this.#upload.url, this.#request());
      this.#tell();
    }
    return upload;
  }

  #request() {
    return { signal: this.#aborter.signal };
  }

  #tell() {
    this.#options.onProgress(this.#there, this.#spared);
  }

  #keep(upload) {
    this.#upload = { ...this.#upload, ...upload };
    const { url, expires } = this.#upload;
    this.#options.onKept({ url, expires, offset: this.#there, spared: this.sparedOfList });
  }
}
