// All transfers of this page: a few at a time, the others wait.

import { Transfer } from "./transfer.js";

const AT_ONCE = 3;
const BUSY = ["active", "retrying"];

export class Queue extends EventTarget {
  transfers = new Set();
  #latest = new Map();

  /** Take files, each with the name it is to have: `[{ file, target }]`. */
  add(wanted) {
    for (const { file, target } of wanted) {
      // Dropping a file again while it is sent must not start a race with itself.
      if (!this.#latest.get(target)?.unfinished) {
        this.#take(new Transfer(file, target));
      }
    }
    this.#startNext();
  }

  inState(...states) {
    return [...this.transfers].filter((transfer) => states.includes(transfer.state));
  }

  pauseAll() {
    this.inState("waiting", ...BUSY).forEach((transfer) => transfer.pause());
  }

  resumeAll() {
    this.inState("paused").forEach((transfer) => transfer.resume());
  }

  replaceAll() {
    this.inState("exists").forEach((transfer) => transfer.replace());
  }

  /** Try at once what would have waited, as the network is back. */
  retryNow() {
    this.inState("retrying").forEach((transfer) => transfer.resume());
  }

  /** Forget a transfer that has nothing left to do or to tell. */
  remove(transfer) {
    this.transfers.delete(transfer);
    if (this.#latest.get(transfer.target) === transfer) {
      this.#latest.delete(transfer.target);
    }
    this.#tell("removed", transfer);
  }

  #take(transfer) {
    this.transfers.add(transfer);
    this.#latest.set(transfer.target, transfer);
    transfer.addEventListener("change", () => this.#follow(transfer));
    transfer.addEventListener("progress", () => this.#tell("progress", transfer));
    this.#tell("added", transfer);
  }

  #follow(transfer) {
    this.#tell("change", transfer);
    if (transfer.state === "cancelled") {
      this.remove(transfer);
    }
    if (transfer.state !== "active") {
      this.#startNext();
    }
  }

  #startNext() {
    const free = AT_ONCE - this.inState(...BUSY).length;
    this.inState("waiting")
      .slice(0, Math.max(0, free))
      .forEach((transfer) => transfer.start());
  }

  #tell(type, transfer) {
    this.dispatchEvent(new CustomEvent(type, { detail: transfer }));
  }
}
