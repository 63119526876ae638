// What the page knows of the server: where things are, and how it says no.

import { formatHour } from "./format.js";

export const { root, folder, uploads } = document.body.dataset;

/** Whether files are sent whole here, as nothing is told of chunks. */
export const sendsWhole = "whole" in document.body.dataset;

const base = new URL(document.body.dataset.base ?? "..", new URL(root, location));

// After so long without a sign of a request the server is asked for one, which has so long to come.
const SILENCE_MS = 15_000;
const ANSWER_MS = 10_000;
// In a row, while a body is on its way: then its connection is dead, whatever the others are.
const MOST_SILENCES = 4;
// A list takes milliseconds.
const LIST_MS = 30_000;

let asked = null;

export function urlOf(name) {
  return root + escaped(name);
}

/** Where the list of a file's chunks is. */
export function manifestOf(name) {
  return urlAt(`manifests/${escaped(name)}`);
}

/** What is at a path of the server that is not one of its files. */
export function urlAt(path) {
  return new URL(path, base).pathname;
}

function escaped(name) {
  return name.split("/").map(encodeURIComponent).join("/");
}

/** A request that came to nothing; `status` is 0 where there was no answer at all. */
export class Problem extends Error {
  constructor(status, detail, type = "") {
    super(detail || `The server answered with status ${status}.`);
    this.status = status;
    this.kind = type.split(/[:#]/).at(-1);
  }

  /** Whether the same request may well succeed later. */
  get temporary() {
    return [0, 408, 425, 429, 500, 502, 503, 504].includes(this.status);
  }

  /** From an answer's body, which is a problem document unless a proxy wrote it (RFC 9457). */
  static read(status, body) {
    try {
      const { detail, type, locks } = JSON.parse(body);
      return new Problem(status, locks?.length ? sayLocked(locks) : detail, type);
    } catch {
      return new Problem(status);
    }
  }

  static unreachable() {
    return new Problem(0, "The server cannot be reached. Check the connection and try again.");
  }
}

/** What is said of the locks in the way, to somebody who sends no tokens. */
function sayLocked([{ name, owner, yours, expires }, ...others]) {
  const by = yours ? " by you" : owner && ` by ${owner}`;
  const more = others.length ? " Others are in the way too." : "";
  const then = yours ? "close it where you have it open" : "try again then";
  return `${name} is locked${by} until ${formatHour(expires)}.${more} Nothing was changed: ${then}.`;
}

/** Send a request, without a body or with a short one; its answer is returned if it is a success. */
export async function request(method, url, headers = {}, body = null) {
  let response;
  try {
    const fields = { Accept: "application/json", ...headers };
    response = await fetch(url, { method, headers: fields, body });
  } catch {
    throw Problem.unreachable();
  }
  if (!response.ok) {
    throw Problem.read(response.status, await response.text());
  }
  return response;
}

/** Drop an upload; one that is complete leaves its file. */
export async function endUpload(url) {
  await request("DELETE", url);
}

/**
 * Send a body and tell how much of it has gone out, which `fetch` cannot. What is answered is
 * text, or bytes where `binary`.
 */
export function send(method, url, headers, body, { onProgress, signal, binary = false } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const xhr = new XMLHttpRequest();
    xhr.open(method, url);
    xhr.responseType = binary ? "arraybuffer" : "text";
    for (const [name, value] of Object.entries(headers)) {
      xhr.setRequestHeader(name, value);
    }
    if (onProgress) {
      xhr.upload.onprogress = (event) => onProgress(event.loaded);
    }
    xhr.onerror = () => reject(Problem.unreachable());
    xhr.onabort = () => reject(signal?.reason ?? Problem.unreachable());
    xhr.onload = () =>
      xhr.status < 300 ? resolve(xhr) : reject(Problem.read(xhr.status, textOf(xhr)));
    const abort = () => xhr.abort();
    signal?.addEventListener("abort", abort, { once: true });
    xhr.onloadend = () => signal?.removeEventListener("abort", abort);
    abortWhenLost(xhr, body !== null);
    xhr.send(body);
  });
}

function textOf(xhr) {
  return xhr.responseType === "arraybuffer" ? new TextDecoder().decode(xhr.response) : xhr.response;
}

/** Abort a request of which nothing is heard, if the server is not either, or it goes on so. */
function abortWhenLost(xhr, sending) {
  let timer = null;
  let silences = 0;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, SILENCE_MS);
  };
  const hear = () => {
    silences = 0;
    wait();
  };
  const ask = async () => {
    silences += 1;
    // The answer to a whole body may take its time, as long as there is a server.
    if ((sending && silences > MOST_SILENCES) || !(await answers())) {
      xhr.abort();
    } else if (timer !== null) {
      wait();
    }
  };
  xhr.upload.addEventListener("progress", hear);
  xhr.upload.addEventListener("load", () => (sending = false));
  xhr.addEventListener("progress", hear);
  xhr.addEventListener("loadend", () => {
    clearTimeout(timer);
    timer = null;
  });
  wait();
}

/** Whether the server answers at all; asked once for all that want to know at the same time. */
function answers() {
  asked ??= knock().finally(() => (asked = null));
  return asked;
}

async function knock() {
  const aborter = new AbortController();
  const timer = setTimeout(() => aborter.abort(), ANSWER_MS);
  try {
    await fetch(urlAt("health/live"), { signal: aborter.signal });
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

/** Load another state of this page. The browser parses it without running anything in it. */
export function loadPage(url) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("GET", url);
    xhr.responseType = "document";
    xhr.setRequestHeader("Accept", "text/html");
    xhr.timeout = LIST_MS;
    xhr.onerror = xhr.ontimeout = () => reject(Problem.unreachable());
    xhr.onload = () =>
      xhr.status < 300 && xhr.response
        ? resolve(xhr.response)
        : reject(new Problem(xhr.status, xhr.response?.querySelector("main p")?.textContent));
    xhr.send();
  });
}
