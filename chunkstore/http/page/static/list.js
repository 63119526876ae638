// The list: refreshed in place, paged, sorted and filtered.
//
// The server renders every row, also those that come later, so there is one way a row looks. It
// lists in order of names; other orders are those of the rows that are loaded, and the page says so.

import { baseName, formatTime, plural } from "./format.js";
import { announce } from "./announcer.js";
import { loadPage } from "./server.js";
import { showError } from "./dialogs.js";
import { showHours } from "./locks.js";

const MOST_ROWS = 1000;
const REFRESH_MS = 1000;
const TYPING_MS = 200;

const ORDERS = {
  name: null,
  size: (row) => Number(row.dataset.size ?? -1),
  modified: (row) => Date.parse(row.dataset.modified) || 0,
};

const body = document.querySelector("#list tbody");
const headers = [...document.querySelectorAll("#list th[data-sort]")];
const more = document.querySelector("#more");
const count = document.querySelector("#count");
const filter = document.querySelector("#filter");
const foot = document.querySelector("#store");
const locks = document.querySelector("#locks");
const menuTemplate = document.querySelector("#menu-button");

let order = { key: "name", descending: false };
let refreshing = null;
// The last load that was begun, and the refresh that will be behind it.
let loading = Promise.resolve();
let waiting = null;
// Whether all of the folder is here: then the page filters by itself, and finds parts of names.
let whole = !nextLink(document) && !filter.value;

export function rows() {
  return [...body.querySelectorAll("tr[data-name]")];
}

/** Bring the list up to date soon; once for many changes. */
export function refreshSoon() {
  refreshing ??= setTimeout(() => {
    refreshing = null;
    refresh();
  }, REFRESH_MS);
}

/**
 * Bring the list up to date, as long as it was. One load follows the other, so that none that is
 * older comes behind one that is newer; those that are asked for while one waits are that one.
 */
export function refresh() {
  waiting ??= inTurn(() => {
    waiting = null;
    return showAnew();
  });
  return waiting;
}

async function showAnew() {
  const prefix = whole ? "" : filter.value;
  const { last, loaded } = await loadRows(urlOfList(prefix), Math.max(rows().length, pageSize()));
  const focused = document.activeElement?.closest("tr[data-name]")?.dataset.name;
  body.replaceChildren(...loaded);
  follow(last, prefix);
  rowOf(focused)?.querySelector("a").focus();
}

/** Load at least so many rows, if there are, in as many requests as it takes. */
async function loadRows(url, count) {
  const loaded = [];
  for (;;) {
    url.searchParams.set("limit", Math.min(MOST_ROWS, count - loaded.length));
    const page = await loadPage(url);
    loaded.push(...rowsIn(page));
    const next = nextLink(page);
    if (!next || loaded.length >= count) {
      return { last: page, loaded };
    }
    url = new URL(next.href);
  }
}

function loadMore(event) {
  event.preventDefault();
  return inTurn(async () => {
    const link = nextLink(document);
    if (!link) {
      return;
    }
    const before = rows().length;
    const { last, loaded } = await loadRows(new URL(link.href), pageSize());
    body.append(...loaded);
    follow(last, new URL(link.href).searchParams.get("prefix") ?? "");
    rows()[before]?.querySelector("a").focus();
    announce(`${plural(rows().length - before, "more row")}.`);
  });
}

function inTurn(load) {
  loading = loading.then(() => tell(load));
  return loading;
}

async function tell(load) {
  try {
    await load();
  } catch (error) {
    if (error.status === 404) {
      // A folder that nobody made is gone with the last name in it; an upload brings it back.
      body.replaceChildren();
      more.replaceChildren();
      showCount();
      return;
    }
    showError(`The list could not be loaded. ${error.message}`);
  }
}

/** The list of the names that begin with `prefix`, from the first one on. */
function urlOfList(prefix) {
  const url = new URL(location.href);
  url.searchParams.delete("after");
  url.searchParams.delete("prefix");
  if (prefix) {
    url.searchParams.set("prefix", prefix);
  }
  return url;
}

function pageSize() {
  return Number(more.dataset.limit);
}

function rowsIn(page) {
  return [...page.querySelectorAll("#list tbody tr")].map((row) => document.adoptNode(row));
}

function nextLink(page) {
  return page.querySelector("#more a");
}

function rowOf(name) {
  return name && body.querySelector(`tr[data-name="${CSS.escape(name)}"]`);
}

/**
 * Take over what a page says of what follows it; then order and filter its rows. It was asked for
 * what begins with `prefix`, whatever has been typed since.
 */
function follow(page, prefix) {
  if (page !== document) {
    more.replaceChildren(...page.querySelector("#more").childNodes);
    foot.replaceChildren(...page.querySelector("#store").childNodes);
    locks.replaceChildren(...page.querySelector("#locks").childNodes);
  }
  showHours(locks);
  whole = !nextLink(document) && !prefix;
  rows().forEach(enhance);
  sort();
  applyFilter();
}

function enhance(row) {
  const cell = row.querySelector(".actions");
  if (cell.querySelector(".menu-button")) {
    return;
  }
  cell.replaceChildren(menuTemplate.content.cloneNode(true));
  cell.firstElementChild.setAttribute("aria-label", `Actions for ${baseName(row.dataset.name)}`);
  showHours(row);
  const time = row.querySelector(".modified time");
  if (time) {
    time.title = time.textContent;
    time.textContent = formatTime(time.dateTime);
  }
}

function sort() {
  const measure = ORDERS[order.key];
  const sign = order.descending ? -1 : 1;
  const sorted = rows().sort((one, other) => {
    const kinds = isFile(one) - isFile(other);
    const measured = measure ? measure(one) - measure(other) : 0;
    return kinds || sign * (measured || compareNames(one, other));
  });
  body.prepend(...sorted);
}

function isFile(row) {
  return Number("size" in row.dataset);
}

/** By code points, as the server does it, so that pages fit together. */
function compareNames(one, other) {
  const [left, right] = [[...one.dataset.name], [...other.dataset.name]];
  const at = left.findIndex((character, index) => character !== right[index]);
  if (at < 0) {
    return left.length - right.length;
  }
  return at < right.length ? left[at].codePointAt(0) - right[at].codePointAt(0) : 1;
}

function sortBy(header) {
  const key = header.dataset.sort;
  order = { key, descending: order.key === key && !order.descending };
  for (const one of headers) {
    one.removeAttribute("aria-sort");
  }
  header.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
  sort();
  showCount();
}

async function filterChanged() {
  if (whole) {
    applyFilter();
  } else {
    await refresh();
  }
}

function applyFilter() {
  const wanted = whole ? filter.value.normalize("NFC").toLowerCase() : "";
  for (const row of rows()) {
    row.hidden = !baseName(row.dataset.name).toLowerCase().includes(wanted);
  }
  showCount();
}

function showCount() {
  const shown = rows().filter((row) => !row.hidden).length;
  const noun = filter.value ? "match" : "entry";
  const nouns = filter.value ? "matches" : "entries";
  let text = `${shown.toLocaleString()} ${shown === 1 ? noun : nouns}`;
  if (nextLink(document)) {
    const sorted = order.key === "name" && !order.descending ? "" : "sorted among these; ";
    text += ` shown, ${sorted}there are more`;
  }
  if (filter.value && !whole) {
    text += `. In a folder this long, names are found by how they begin, in upper and lower case.`;
  }
  count.textContent = text;
}

export function setUpList() {
  for (const header of headers) {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(header));
  }
  more.addEventListener("click", (event) => event.target.closest("a") && loadMore(event));
  let typing;
  filter.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filterChanged, TYPING_MS);
  });
  filter.form.addEventListener("submit", (event) => {
    event.preventDefault();
    filterChanged();
  });
  follow(document, filter.value);
}
