// The panel that shows uploads, each in a row of its own, and what all of them come to.

import { baseName, formatDuration, formatShare, formatSize, parentOf, plural } from "./format.js";
import { forget, keyOf, remembered } from "./remembered.js";
import { endUpload, folder, urlOf } from "./server.js";
import { announce } from "./announcer.js";

// Of each state, and of what an earlier visit left; all others are only counted.
const SHOWN = 50;
const RENDER_MS = 250;
const SILENT_SECONDS = 5;

// What the two buttons of a row do in each state: [label, method] or nothing.
const BUTTONS = {
  waiting: [null, ["Cancel", "cancel"]],
  again: [null, ["Cancel", "cancel"]],
  active: [["Pause", "pause"], ["Cancel", "cancel"]],
  retrying: [["Try now", "resume"], ["Cancel", "cancel"]],
  paused: [["Resume", "resume"], ["Cancel", "cancel"]],
  exists: [["Replace", "replace"], ["Skip", "cancel"]],
  failed: [["Retry", "resume"], ["Dismiss", "cancel"]],
  done: [null, ["Dismiss", "dismiss"]],
};

const SAID = {
  waiting: () => "Waits for its turn",
  again: () => "Waits for its turn",
  active: (transfer) => listed(sentOf(transfer), sparedOf(transfer), paceOf(transfer)),
  retrying: ({ problem }) => `${problem.message} It goes on by itself as soon as it can.`,
  paused: (transfer) => listed(`Paused at ${sentOf(transfer)}`, sparedOf(transfer)),
  exists: () => "There is a file of this name. Replace it?",
  failed: ({ problem, kept }) =>
    problem.kind === "locked" && kept ? `${problem.message} What was sent is kept.` : problem.message,
  done: (transfer) => listed(formatSize(transfer.file.size), endOf(transfer)),
};

const panel = document.querySelector("#uploads");
const rows = panel.querySelector("ul");
const summary = panel.querySelector(".summary");
const total = panel.querySelector(".total");
const rest = panel.querySelector(".rest");
const rowTemplate = document.querySelector("#upload-row");

export class Panel {
  #queue;
  #rowOf = new Map();
  #interrupted = new Map();
  #lately = [];
  #timer = null;
  #rendered = -Infinity;

  constructor(queue) {
    this.#queue = queue;
    queue.addEventListener("added", ({ detail }) => this.#added(detail));
    queue.addEventListener("change", ({ detail }) => this.#changed(detail));
    queue.addEventListener("removed", () => this.#renderSoon());
    queue.addEventListener("progress", () => this.#renderSoon());
    panel.addEventListener("click", ({ target }) => this.#all(target.dataset.all));
    remembered().slice(0, SHOWN).forEach((record) => this.#addInterrupted(record));
    this.#render();
  }

  /** An interrupted upload goes on, or anew, once its file is here again. */
  #added(transfer) {
    if (this.#interrupted.size) {
      this.#dropInterrupted(keyOf(transfer.file, transfer.target));
    }
    this.#renderSoon();
  }

  #changed(transfer) {
    this.#rowOf.get(transfer)?.show(transfer);
    if (["exists", "failed"].includes(transfer.state)) {
      announce(`${baseName(transfer.target)}: ${SAID[transfer.state](transfer)}`);
    }
    if (transfer.state === "done") {
      this.#lately = [...this.#lately.slice(1 - SHOWN), transfer];
      this.#announceEnd();
    }
    this.#renderSoon();
  }

  #announceEnd() {
    if (!this.#queue.countIn("waiting", "again", "active", "retrying")) {
      announce(`${plural(this.#queue.countIn("done"), "file")} uploaded.`);
    }
  }

  #newRow(transfer) {
    const row = new Row(transfer.target, (method) =>
      method === "dismiss" ? this.#queue.remove(transfer) : transfer[method](),
    );
    row.show(transfer);
    return row;
  }

  #addInterrupted(record) {
    const key = keyOf(record, record.target);
    const row = new Row(record.target, async () => {
      this.#dropInterrupted(key);
      this.#render();
      forget(record, record.target);
      await endUpload(record.url).catch(() => {});
    });
    row.interrupted(record);
    rows.append(row.element);
    this.#interrupted.set(key, row);
  }

  #dropInterrupted(key) {
    this.#interrupted.get(key)?.element.remove();
    this.#interrupted.delete(key);
  }

  #all(what) {
    if (what === "dismiss") {
      this.#queue.inState("done").forEach((transfer) => this.#queue.remove(transfer));
    } else if (what) {
      this.#queue[what]();
    }
  }

  #renderSoon() {
    const pause = Math.max(0, this.#rendered + RENDER_MS - performance.now());
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#render();
    }, pause);
  }

  #render() {
    this.#rendered = performance.now();
    this.#renderRows();
    const { count } = this.#queue;
    panel.hidden = !count && !rows.children.length;
    total.hidden = summary.hidden = count < 2;
    this.#renderTotal();
    this.#renderButtons();
    if (this.#queue.countIn("active")) {
      // Also silence is shown.
      this.#renderSoon();
    }
  }

  /** Show the first few of each state, in the order in which they came. */
  #renderRows() {
    const shown = new Set(Object.keys(BUTTONS).flatMap((state) => this.#shownOf(state)));
    for (const [transfer, row] of this.#rowOf) {
      if (!shown.has(transfer)) {
        row.element.remove();
        this.#rowOf.delete(transfer);
      }
    }
    for (const transfer of shown) {
      this.#rowOf.set(transfer, this.#rowOf.get(transfer) ?? this.#newRow(transfer));
    }
    this.#place([...shown].sort((one, other) => this.#placeOf(one) - this.#placeOf(other)));
    const hidden = this.#queue.count - shown.size;
    rest.hidden = !hidden;
    rest.textContent = hidden ? `… and ${plural(hidden, "file")} more` : "";
  }

  #shownOf(state) {
    // What is done makes room for what is done later.
    return state === "done"
      ? this.#lately.filter((transfer) => this.#queue.has(transfer))
      : [...this.#queue.some(state, SHOWN)];
  }

  #placeOf(transfer) {
    return this.#queue.placeOf(transfer);
  }

  /** Put rows that are missing where they belong; none that is there is moved, and loses focus. */
  #place(transfers) {
    let next = rows.children[this.#interrupted.size] ?? null;
    for (const transfer of transfers) {
      const { element } = this.#rowOf.get(transfer);
      if (element === next) {
        next = next.nextElementSibling;
      } else {
        rows.insertBefore(element, next);
      }
      if (transfer.state === "active") {
        this.#rowOf.get(transfer).show(transfer);
      }
    }
  }

  #renderTotal() {
    const { count, size, sent, spared } = this.#queue;
    const rate = sum(this.#queue.inState("active"), (one) => one.rate);
    const done = this.#queue.countIn("done");
    const parts = [`${done} of ${plural(count, "file")}`, formatShare(sent, size)];
    if (spared) {
      parts.push(`${formatSize(spared)} spared`);
    }
    if (rate) {
      parts.push(`${formatSize(Math.round(rate))}/s`, `${formatDuration((size - sent) / rate)} left`);
    }
    summary.textContent = parts.join(" · ");
    total.value = size ? sent / size : 1;
  }

  #renderButtons() {
    const count = (...states) => this.#queue.countIn(...states);
    const wanted = {
      pauseAll: count("waiting", "again", "active", "retrying") > 1,
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
  element;
  #act;
  #shown;

  constructor(target, act) {
    this.#shown = target.startsWith(folder) ? target.slice(folder.length) : target;
    this.#act = act;
    this.element = rowTemplate.content.cloneNode(true).firstElementChild;
    this.#find(".name").textContent = this.#shown;
    this.#find("progress").setAttribute("aria-label", `Progress of ${this.#shown}`);
  }

  show(transfer) {
    const { state, file, sent } = transfer;
    if (!(state in BUTTONS)) {
      return;
    }
    this.element.className = state;
    this.#find(".said").textContent = SAID[state](transfer);
    this.#find("progress").value = state === "done" || !file.size ? 1 : sent / file.size;
    this.#find("progress").hidden = ["done", "exists"].includes(state);
    this.#showDigest(transfer);
    BUTTONS[state].forEach((button, index) => this.#showButton(index, button));
  }

  interrupted({ target, offset, size }) {
    const elsewhere = parentOf(target) !== folder && !target.startsWith(folder);
    const where = elsewhere ? `in the folder /${parentOf(target)} ` : "";
    this.element.className = "interrupted";
    this.#find(".said").textContent =
      `Interrupted at ${formatShare(offset, size)} of ${formatSize(size)}. ` +
      `Choose or drop the same file ${where}to go on.`;
    this.#find("progress").value = offset / size;
    this.#showButton(0, null);
    this.#showButton(1, ["Discard", "discard"]);
  }

  #showDigest({ state, result, target }) {
    // Nothing is told to who may only send.
    if (state === "done" && result.digest) {
      this.#find(".name").href = urlOf(target);
      this.#find(".digest").textContent = result.digest;
      this.#find("details").hidden = false;
    }
  }

  #showButton(index, described) {
    const button = this.element.querySelectorAll("button")[index];
    button.hidden = !described;
    if (described) {
      const [label, method] = described;
      button.textContent = label;
      button.setAttribute("aria-label", `${label} ${this.#shown}`);
      button.onclick = () => this.#act(method);
    }
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }
}

function sentOf({ sent, file }) {
  return `${formatSize(sent)} of ${formatSize(file.size)}`;
}

function sparedOf({ spared }) {
  return spared ? `${formatSize(spared)} spared` : "";
}

function paceOf({ rate, sent, file, silence }) {
  if (sent === file.size) {
    return "the server is checking it";
  }
  if (silence > SILENT_SECONDS) {
    return `nothing heard for ${formatDuration(silence)}`;
  }
  const left = rate && `${formatDuration((file.size - sent) / rate)} left`;
  return rate && `${formatSize(Math.round(rate))}/s · ${left}`;
}

/** Say how much of a file was sent, or, where all of it was, how much of that needed no room. */
function endOf({ file, result, spared }) {
  if (spared >= file.size && file.size) {
    return "nothing sent, all of it already known";
  }
  if (spared) {
    return `${formatSize(file.size - spared)} sent, ${formatSize(spared)} already known`;
  }
  return knownOf(file.size, result.newSize);
}

/** Unknown where the answer to its end was lost. */
function knownOf(size, newSize) {
  if (newSize === null || newSize === undefined) {
    return "uploaded";
  }
  const known = size - newSize;
  if (known <= 0) {
    return "all of it new";
  }
  return newSize ? `${formatSize(known)} already known` : "all of it already known";
}

function listed(...parts) {
  return parts.filter(Boolean).join(" · ");
}

function sum(values, measure) {
  return values.reduce((total, value) => total + measure(value), 0);
}
