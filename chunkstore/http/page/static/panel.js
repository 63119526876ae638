// The panel that shows uploads, each in a row of its own, and what all of them come to.

import { baseName, formatDuration, formatShare, formatSize, parentOf, plural } from "./format.js";
import { forget, keyOf, remembered } from "./remembered.js";
import { folder, urlOf } from "./server.js";
import { announce } from "./announcer.js";
import * as tus from "./tus.js";

const SHOWN_WAITING = 50;
const SHOWN_DONE = 50;
const RENDER_MS = 250;

// What the two buttons of a row do in each state: [label, method] or nothing.
const BUTTONS = {
  waiting: [null, ["Cancel", "cancel"]],
  active: [["Pause", "pause"], ["Cancel", "cancel"]],
  retrying: [["Try now", "resume"], ["Cancel", "cancel"]],
  paused: [["Resume", "resume"], ["Cancel", "cancel"]],
  exists: [["Replace", "replace"], ["Skip", "cancel"]],
  failed: [["Retry", "resume"], ["Dismiss", "cancel"]],
  done: [null, ["Dismiss", "dismiss"]],
};

const SAID = {
  waiting: () => "Waits for its turn",
  active: (transfer) => [sentOf(transfer), speedOf(transfer)].filter(Boolean).join(" · "),
  retrying: ({ problem }) => `${problem.message} It goes on by itself as soon as it can.`,
  paused: (transfer) => `Paused at ${sentOf(transfer)}`,
  exists: () => "There is a file of this name. Replace it?",
  failed: ({ problem }) => problem.message,
  done: (transfer) => `${formatSize(transfer.file.size)} · ${knownOf(transfer)}`,
};

const panel = document.querySelector("#uploads");
const rows = panel.querySelector("ul");
const summary = panel.querySelector(".summary");
const total = panel.querySelector(".total");
const rowTemplate = document.querySelector("#upload-row");

export class Panel {
  #queue;
  #rowOf = new Map();
  #interrupted = new Map();
  #waitingShown = 0;
  #timer = null;

  constructor(queue) {
    this.#queue = queue;
    queue.addEventListener("added", ({ detail }) => this.#added(detail));
    queue.addEventListener("change", ({ detail }) => this.#changed(detail));
    queue.addEventListener("removed", ({ detail }) => this.#removed(detail));
    queue.addEventListener("progress", () => this.#renderSoon());
    panel.addEventListener("click", ({ target }) => this.#all(target.dataset.all));
    remembered().forEach((record) => this.#addInterrupted(record));
    this.#render();
  }

  /** An interrupted upload goes on, or anew, once its file is here again. */
  #added(transfer) {
    this.#interrupted.get(keyOf(transfer.file, transfer.target))?.remove();
    if (this.#waitingShown < SHOWN_WAITING) {
      this.#waitingShown += 1;
      this.#addRow(transfer);
    }
    this.#renderSoon();
  }

  #changed(transfer) {
    const row = this.#rowOf.get(transfer) ?? this.#addRow(transfer);
    row.show(transfer);
    if (["exists", "failed"].includes(transfer.state)) {
      announce(`${baseName(transfer.target)}: ${SAID[transfer.state](transfer)}`);
    }
    if (transfer.state === "done" && !this.#queue.inState("waiting", "active", "retrying").length) {
      announce(`${plural(this.#queue.inState("done").length, "file")} uploaded.`);
    }
    this.#trim();
    this.#renderSoon();
  }

  #removed(transfer) {
    const row = this.#rowOf.get(transfer);
    this.#rowOf.delete(transfer);
    row?.remove();
    this.#renderSoon();
  }

  #addRow(transfer) {
    const row = new Row(transfer.target, (method) =>
      method === "dismiss" ? this.#queue.remove(transfer) : transfer[method](),
    );
    this.#rowOf.set(transfer, row);
    row.show(transfer);
    return row;
  }

  #addInterrupted(record) {
    const row = new Row(record.target, async () => {
      row.remove();
      this.#render();
      forget(record, record.target);
      await tus.end(record.url).catch(() => {});
    });
    row.interrupted(record);
    this.#interrupted.set(keyOf(record, record.target), row);
  }

  /** Many small files leave many rows behind; the oldest that went well need no room. */
  #trim() {
    const done = this.#queue.inState("done").filter((transfer) => this.#rowOf.has(transfer));
    for (const transfer of done.slice(0, -SHOWN_DONE)) {
      this.#rowOf.get(transfer).remove();
      this.#rowOf.delete(transfer);
    }
  }

  #all(what) {
    if (what === "dismiss") {
      this.#queue.inState("done").forEach((transfer) => this.#queue.remove(transfer));
    } else if (what) {
      this.#queue[what]();
    }
  }

  #renderSoon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#render();
    }, RENDER_MS);
  }

  #render() {
    for (const [transfer, row] of this.#rowOf) {
      if (transfer.state === "active") {
        row.show(transfer);
      }
    }
    const { transfers } = this.#queue;
    panel.hidden = !transfers.size && !rows.children.length;
    total.hidden = summary.hidden = transfers.size < 2;
    this.#renderTotal([...transfers]);
    this.#renderButtons();
  }

  #renderTotal(transfers) {
    const size = sum(transfers, ({ file }) => file.size);
    const sent = sum(transfers, (one) => (one.state === "done" ? one.file.size : one.sent));
    const rate = sum(transfers, (one) => one.rate);
    const done = this.#queue.inState("done").length;
    const parts = [`${done} of ${plural(transfers.length, "file")}`, formatShare(sent, size)];
    if (rate) {
      parts.push(`${formatSize(Math.round(rate))}/s`, `${formatDuration((size - sent) / rate)} left`);
    }
    summary.textContent = parts.join(" · ");
    total.value = size ? sent / size : 1;
  }

  #renderButtons() {
    const count = (...states) => this.#queue.inState(...states).length;
    const wanted = {
      pauseAll: count("waiting", "active", "retrying") > 1,
      resumeAll: count("paused") > 1,
      replaceAll: count("exists") > 1,
      dismiss: count("done") > 1,
    };
    for (const button of panel.querySelectorAll("[data-all]")) {
      button.hidden = !wanted[button.dataset.all];
    }
  }
}

class Row {
  #element;
  #act;
  #shown;

  constructor(target, act) {
    this.#shown = target.startsWith(folder) ? target.slice(folder.length) : target;
    this.#act = act;
    this.#element = rowTemplate.content.cloneNode(true).firstElementChild;
    this.#find(".name").textContent = this.#shown;
    this.#find("progress").setAttribute("aria-label", `Progress of ${this.#shown}`);
    rows.append(this.#element);
  }

  show(transfer) {
    const { state, file, sent } = transfer;
    if (!(state in BUTTONS)) {
      return;
    }
    this.#element.className = state;
    this.#find(".said").textContent = SAID[state](transfer);
    this.#find("progress").value = state === "done" || !file.size ? 1 : sent / file.size;
    this.#find("progress").hidden = ["done", "exists"].includes(state);
    this.#showDigest(transfer);
    BUTTONS[state].forEach((button, index) => this.#showButton(index, button));
  }

  interrupted({ target, offset, size }) {
    const elsewhere = parentOf(target) !== folder && !target.startsWith(folder);
    const where = elsewhere ? `in the folder /${parentOf(target)} ` : "";
    this.#element.className = "interrupted";
    this.#find(".said").textContent =
      `Interrupted at ${formatShare(offset, size)} of ${formatSize(size)}. ` +
      `Choose or drop the same file ${where}to go on.`;
    this.#find("progress").value = offset / size;
    this.#showButton(0, null);
    this.#showButton(1, ["Discard", "discard"]);
  }

  remove() {
    this.#element.remove();
  }

  #showDigest({ state, result, target }) {
    if (state === "done") {
      this.#find(".name").href = urlOf(target);
      this.#find(".digest").textContent = result.digest;
      this.#find("details").hidden = false;
    }
  }

  #showButton(index, described) {
    const button = this.#element.querySelectorAll("button")[index];
    button.hidden = !described;
    if (described) {
      const [label, method] = described;
      button.textContent = label;
      button.setAttribute("aria-label", `${label} ${this.#shown}`);
      button.onclick = () => this.#act(method);
    }
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }
}

function sentOf({ sent, file }) {
  return `${formatSize(sent)} of ${formatSize(file.size)}`;
}

function speedOf({ rate, sent, file }) {
  const left = rate && `${formatDuration((file.size - sent) / rate)} left`;
  return rate && `${formatSize(Math.round(rate))}/s · ${left}`;
}

/** Say how much of a file needed no room; unknown where the answer to its end was lost. */
function knownOf({ file, result }) {
  if (result.newSize === null || result.newSize === undefined) {
    return "uploaded";
  }
  const known = file.size - result.newSize;
  if (known <= 0) {
    return "all of it new";
  }
  return result.newSize ? `${formatSize(known)} already known` : "all of it already known";
}

function sum(values, measure) {
  return values.reduce((total, value) => total + measure(value), 0);
}
