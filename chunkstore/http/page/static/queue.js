// All transfers of this page: a few at a time, the others wait.
//
// There may be a hundred thousand, so they are kept by their states and summed up as they change:
// nothing here looks at all of them but what is asked of all.

import { Transfer } from "./transfer.js";

const AT_ONCE = 3;
const BUSY = ["active", "retrying"];

export class Queue extends EventTarget {
  /** Bytes of all files, of these what is there, and of that what was not sent. */
  size = 0;
  sent = 0;
  spared = 0;
  count = 0;
  #states = new Map();
  #lines = new Map();
  // Of each transfer its state and bytes as they are counted above, and its place.
  #known = new Map();
  #latest = new Map();
  #places = 0;

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

  /** Whether a transfer is still here. */
  has(transfer) {
    return this.#known.has(transfer);
  }

  /** The place of a transfer in the order in which they came. */
  placeOf(transfer) {
    return this.#known.get(transfer).place;
  }

  inState(...states) {
    return states.flatMap((state) => [...this.#of(state)]);
  }

  countIn(...states) {
    return states.reduce((total, state) => total + this.#of(state).size, 0);
  }

  /** The first few in a state, in the order in which they entered it. */
  *some(state, most) {
    for (const transfer of this.#of(state)) {
      if (most <= 0) {
        return;
      }
      most -= 1;
      yield transfer;
    }
  }

  pauseAll() {
    this.inState("waiting", "again", ...BUSY).forEach((transfer) => transfer.pause());
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

  /** Break off what is on its way, as the network is gone. */
  loseNetwork() {
    this.inState("active").forEach((transfer) => transfer.lose());
  }

  /** Forget a transfer that has nothing left to do or to tell. */
  remove(transfer) {
    const { state, sent, spared } = this.#known.get(transfer);
    this.#of(state).delete(transfer);
    this.#known.delete(transfer);
    this.count -= 1;
    this.size -= transfer.file.size;
    this.sent -= sent;
    this.spared -= spared;
    if (this.#latest.get(transfer.target) === transfer) {
      this.#latest.delete(transfer.target);
    }
    this.#tell("removed", transfer);
  }

  #of(state) {
    if (!this.#states.has(state)) {
      this.#states.set(state, new Set());
    }
    return this.#states.get(state);
  }

  #take(transfer) {
    this.#places += 1;
    this.#known.set(transfer, {
      state: transfer.state,
      sent: 0,
      spared: 0,
      place: this.#places,
    });
    this.#of(transfer.state).add(transfer);
    this.count += 1;
    this.size += transfer.file.size;
    this.#latest.set(transfer.target, transfer);
    transfer.addEventListener("change", () => this.#follow(transfer));
    transfer.addEventListener("progress", () => {
      this.#measure(transfer);
      this.#tell("progress", transfer);
    });
    this.#tell("added", transfer);
  }

  #follow(transfer) {
    const known = this.#known.get(transfer);
    if (known === undefined) {
      return;
    }
    this.#of(known.state).delete(transfer);
    known.state = transfer.state;
    this.#of(known.state).add(transfer);
    this.#measure(transfer);
    this.#tell("change", transfer);
    if (transfer.state === "cancelled") {
      this.remove(transfer);
    }
    if (transfer.state !== "active") {
      this.#startNext();
    }
  }

  #measure(transfer) {
    const known = this.#known.get(transfer);
    if (known !== undefined) {
      const sent = transfer.state === "done" ? transfer.file.size : transfer.sent;
      this.sent += sent - known.sent;
      known.sent = sent;
      this.spared += transfer.spared - known.spared;
      known.spared = transfer.spared;
    }
  }

  #startNext() {
    while (this.countIn(...BUSY) < AT_ONCE) {
      // First what somebody has asked for once more.
      const next = this.#next("again") ?? this.#next("waiting");
      if (next === undefined) {
        return;
      }
      next.start();
    }
  }

  /** The next in a state that it leaves at once. */
  #next(state) {
    // One iterator for all of them: a new one would go over the places of all that have left.
    let next = this.#lines.get(state)?.next();
    if (next === undefined || next.done) {
      this.#lines.set(state, this.#of(state).values());
      next = this.#lines.get(state).next();
    }
    return next.value;
  }

  #tell(type, transfer) {
    this.dispatchEvent(new CustomEvent(type, { detail: transfer }));
  }
}
