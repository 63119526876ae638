// One file on its way to the server.
//
//     waiting -> active -> done
//     again   -> active -> paused, retrying (after a while), exists (asks), failed (says why)
//                paused, exists, failed -> again
//
// It begins create-only: what is there already is replaced only if the user says so.

import { forget, recall, remember } from "./remembered.js";
import { endUpload, Problem } from "./server.js";
import * as sparing from "./sparing.js";
import * as tus from "./tus.js";

const SMALL_SIZE = 1024 * 1024;
// What is asked how far it is before it goes on: the answer to its last request was lost.
const BEHIND = ["mismatching-upload-offset", "completed-upload"];
const FIRST_PAUSE_SECONDS = 1;
const LONGEST_PAUSE_SECONDS = 30;
const RATE_SECONDS = 8;

export class Transfer extends EventTarget {
  state = "waiting";
  /** Bytes of the file that are there, and those of them that were known and not sent. */
  sent = 0;
  spared = 0;
  problem = null;
  result = null;
  retryAt = 0;
  #replace = false;
  #pauseSeconds = FIRST_PAUSE_SECONDS;
  #aborter = new AbortController();
  #samples = [];
  #heard = 0;

  constructor(file, target) {
    super();
    this.file = file;
    this.target = target;
  }

  get unfinished() {
    return !["done", "cancelled"].includes(this.state);
  }

  /** Bytes per second of late, 0 while that cannot be told. */
  get rate() {
    const now = performance.now();
    const [first] = this.#samples;
    const seconds = first ? (now - first.time) / 1000 : 0;
    const late = this.state === "active" && seconds > 0.5 && seconds < 2 * RATE_SECONDS;
    return late ? (this.sent - first.sent) / seconds : 0;
  }

  /** For how many seconds nothing has been heard of it on its way. */
  get silence() {
    return this.state === "active" ? (performance.now() - this.#heard) / 1000 : 0;
  }

  /** Whether the server keeps what was sent, for it to go on. */
  get kept() {
    return Boolean(recall(this.file, this.target));
  }

  /** Send the file until it is there, or something has to be decided. */
  async start() {
    const aborter = (this.#aborter = new AbortController());
    this.#samples = [];
    this.#heard = performance.now();
    this.#enter("active");
    try {
      this.result = await this.#send(aborter.signal);
      forget(this.file, this.target);
      this.#enter("done");
    } catch (error) {
      if (!aborter.signal.aborted) {
        await this.#judge(error, aborter.signal);
      }
    }
  }

  pause() {
    this.#aborter.abort();
    this.#enter("paused");
  }

  /** Have it sent when its turn comes. */
  resume() {
    this.#pauseSeconds = FIRST_PAUSE_SECONDS;
    this.problem = null;
    this.#aborter.abort();
    this.#enter("again");
  }

  /** Have it sent again later: the network is gone, which its request may not find out. */
  lose() {
    this.#aborter.abort();
    this.problem = Problem.unreachable();
    this.#aborter = new AbortController();
    this.#retryLater(this.#aborter.signal);
  }

  replace() {
    this.#replace = true;
    this.resume();
  }

  /** Stop for good; the server drops what it has. */
  cancel() {
    this.#aborter.abort();
    this.#drop();
    this.#enter("cancelled");
  }

  #enter(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  async #send(signal) {
    const { file, target } = this;
    const options = {
      replace: this.#replace,
      signal,
      onProgress: (sent, spared = 0) => this.#advance(sent, spared),
    };
    if (file.size <= SMALL_SIZE) {
      return tus.put(file, target, options);
    }
    const base = await sparing.prepare(target, options);
    const spares = base !== null;
    const recalled = recall(file, target);
    // An upload goes on only in the way in which it was begun.
    const known = recalled && Boolean(recalled.spares) === spares ? recalled : undefined;
    const onKept = (record) => this.#keep({ ...record, spares });
    return (spares ? sparing : tus).send(file, target, { ...options, base, known, onKept });
  }

  #keep(record) {
    remember(this.file, this.target, record);
    this.#pauseSeconds = FIRST_PAUSE_SECONDS;
  }

  #advance(sent, spared) {
    const now = performance.now();
    this.#heard = now;
    this.sent = Math.min(sent, this.file.size);
    this.spared = spared;
    this.#samples.push({ time: now, sent });
    while (now - this.#samples[0].time > RATE_SECONDS * 1000) {
      this.#samples.shift();
    }
    this.dispatchEvent(new Event("progress"));
  }

  /** Decide what becomes of it after an error. */
  async #judge(error, signal) {
    this.problem = await this.#explain(error);
    if (signal.aborted) {
      return;
    }
    if (error.status === 412) {
      this.#drop();
      this.#enter("exists");
    } else if (this.problem.temporary || BEHIND.includes(this.problem.kind)) {
      this.#retryLater(signal);
    } else {
      this.#enter("failed");
    }
  }

  /** Tell a file that cannot be read any more from a server that cannot be reached. */
  async #explain(error) {
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      return new Problem(-1, "The file was changed or moved since. Choose it again.");
    }
    return error instanceof Problem ? error : new Problem(-1, String(error));
  }

  #retryLater(signal) {
    const pause = this.#pauseSeconds * 1000;
    this.#pauseSeconds = Math.min(2 * this.#pauseSeconds, LONGEST_PAUSE_SECONDS);
    this.retryAt = Date.now() + pause;
    this.#enter("retrying");
    const timer = setTimeout(() => this.start(), pause);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  }

  #drop() {
    const known = recall(this.file, this.target);
    forget(this.file, this.target);
    if (known) {
      // If that fails, the server drops it when it expires.
      endUpload(known.url).catch(() => {});
    }
  }
}
