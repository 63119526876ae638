// What the page knows of the server: where things are, and how it says no.

export const { root, folder, uploads } = document.body.dataset;

export function urlOf(name) {
  return root + name.split("/").map(encodeURIComponent).join("/");
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
      const { detail, type } = JSON.parse(body);
      return new Problem(status, detail, type);
    } catch {
      return new Problem(status);
    }
  }

  static unreachable() {
    return new Problem(0, "The server cannot be reached. Check the connection and try again.");
  }
}

/** Send a request with an empty body; its answer is returned only if it is a success. */
export async function request(method, url, headers = {}) {
  let response;
  try {
    response = await fetch(url, { method, headers: { Accept: "application/json", ...headers } });
  } catch {
    throw Problem.unreachable();
  }
  if (!response.ok) {
    throw Problem.read(response.status, await response.text());
  }
  return response;
}

/** Send a body and tell how much of it has gone out, which `fetch` cannot. */
export function send(method, url, headers, body, { onProgress, signal } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const xhr = new XMLHttpRequest();
    xhr.open(method, url);
    for (const [name, value] of Object.entries(headers)) {
      xhr.setRequestHeader(name, value);
    }
    if (onProgress) {
      xhr.upload.onprogress = (event) => onProgress(event.loaded);
    }
    xhr.onerror = () => reject(Problem.unreachable());
    xhr.onabort = () => reject(signal.reason);
    xhr.onload = () =>
      xhr.status < 300 ? resolve(xhr) : reject(Problem.read(xhr.status, xhr.responseText));
    signal?.addEventListener("abort", () => xhr.abort(), { once: true });
    xhr.send(body);
  });
}

/** Load another state of this page. The browser parses it without running anything in it. */
export function loadPage(url) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("GET", url);
    xhr.responseType = "document";
    xhr.setRequestHeader("Accept", "text/html");
    xhr.onerror = () => reject(Problem.unreachable());
    xhr.onload = () =>
      xhr.status < 300 && xhr.response
        ? resolve(xhr.response)
        : reject(new Problem(xhr.status, xhr.response?.querySelector("main p")?.textContent));
    xhr.send();
  });
}
