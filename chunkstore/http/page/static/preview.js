// A look at a file in place, and what is known of it.

import { baseName, formatSize, formatTime } from "./format.js";
import { rows } from "./list.js";
import { Problem } from "./server.js";

const TEXT_SIZE = 64 * 1024;
const TEXT_TYPES =
  /^text\/|^application\/(.*\+)?(json|xml|javascript|toml|yaml|x-yaml|x-sh|sql|x-ndjson)$/;

const dialog = document.querySelector("#preview");
const figure = dialog.querySelector("figure");
const facts = dialog.querySelector("dl");

let shown = null;

export function isPreviewable(row) {
  return kindOf(row) !== null;
}

export function preview(row) {
  shown = row;
  dialog.querySelector("h2").textContent = baseName(row.dataset.name);
  dialog.querySelector("a").href = row.querySelector("a").href;
  figure.replaceChildren(...show(row));
  describe(row.dataset);
  const around = previewable();
  dialog.querySelector("[data-step='-1']").hidden = around.length < 2;
  dialog.querySelector("[data-step='1']").hidden = around.length < 2;
  if (!dialog.open) {
    dialog.showModal();
  }
}

function kindOf({ dataset: { type } }) {
  const essence = (type ?? "").split(";")[0].trim().toLowerCase();
  const tree = essence.split("/")[0];
  if (["image", "audio", "video"].includes(tree)) {
    return tree;
  }
  return TEXT_TYPES.test(essence) ? "text" : null;
}

function show(row) {
  const kind = kindOf(row);
  const { href } = row.querySelector("a");
  if (kind === null) {
    return [paragraph("There is no preview of this kind of file.")];
  }
  return kind === "text" ? [showText(row, href)] : [showMedia(row, kind, href)];
}

function showMedia(row, kind, href) {
  const element = document.createElement(kind === "image" ? "img" : kind);
  if (kind === "image") {
    element.alt = baseName(row.dataset.name);
  } else {
    element.controls = true;
    element.setAttribute("aria-label", baseName(row.dataset.name));
  }
  element.addEventListener("error", () => {
    element.replaceWith(paragraph("Your browser cannot show this file. Download it instead."));
  });
  element.src = href;
  return element;
}

function showText(row, href) {
  const element = document.createElement("pre");
  // A part that scrolls must be reachable by keyboard.
  element.tabIndex = 0;
  element.setAttribute("role", "region");
  element.setAttribute("aria-label", `Beginning of ${baseName(row.dataset.name)}`);
  fillText(element, Number(row.dataset.size), href).catch((error) => {
    element.replaceWith(paragraph(error.message));
  });
  return element;
}

async function fillText(element, size, href) {
  if (size === 0) {
    element.textContent = "(empty)";
    return;
  }
  const response = await fetch(href, { headers: { Range: `bytes=0-${TEXT_SIZE - 1}` } });
  if (!response.ok) {
    throw new Problem(response.status);
  }
  element.textContent = await response.text();
  if (size > TEXT_SIZE) {
    const rest = `This is the beginning, ${formatSize(TEXT_SIZE)} of ${formatSize(size)}.`;
    element.after(paragraph(rest));
  }
}

function describe({ size: digits, type, modified, digest }) {
  const size = Number(digits);
  const described = {
    Size: size < 1024 ? formatSize(size) : `${formatSize(size)} (${size.toLocaleString()} bytes)`,
    Type: type,
    Modified: formatTime(modified),
    BLAKE3: digest,
  };
  facts.replaceChildren(
    ...Object.entries(described).flatMap(([term, text]) => [
      element("dt", term),
      element("dd", text),
    ]),
  );
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function paragraph(text) {
  return element("p", text);
}

function previewable() {
  return rows().filter((row) => !row.hidden && isPreviewable(row));
}

function step(by) {
  const all = previewable();
  const next = all.at((all.indexOf(shown) + by) % all.length);
  if (next) {
    preview(next);
  }
}

export function setUpPreview() {
  document.querySelector("#list tbody").addEventListener("click", (event) => {
    const link = event.target.closest(".name a");
    const row = event.target.closest("tr");
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (link && plain && isPreviewable(row)) {
      event.preventDefault();
      preview(row);
    }
  });
  dialog.addEventListener("click", ({ target }) => {
    if (target.dataset.step) {
      step(Number(target.dataset.step));
    }
  });
  // Nothing goes on playing or loading behind a closed dialog.
  dialog.addEventListener("close", () => figure.replaceChildren());
}
