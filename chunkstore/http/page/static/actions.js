// What can be done to a file or folder, from the menu of its row.

import { announce } from "./announcer.js";
import { ask, offer, showError } from "./dialogs.js";
import { baseName, parentOf } from "./format.js";
import { refresh } from "./list.js";
import { unlock } from "./locks.js";
import { preview } from "./preview.js";
import { folder, request, urlOf } from "./server.js";

const menu = document.querySelector("#menu");
const list = document.querySelector("#list");

const ACTIONS = {
  details: preview,
  copy: copyLink,
  unlock: (row) => unlock(row, refresh),
  rename,
  remove,
};

let button = null;

export function newFolder() {
  ask({
    title: "New folder",
    label: "Name",
    action: "Create",
    run: async (value) => {
      await request("MKCOL", urlOf(`${folder}${value.trim()}/`));
      await refresh();
      announce("Folder created.");
    },
  });
}

export async function copyLink(row) {
  const { href } = row.querySelector("a");
  try {
    await navigator.clipboard.writeText(href);
    announce("Link copied.");
  } catch {
    // Browsers give the clipboard to pages over TLS only.
    ask({ title: "Copy this link", label: "Link", value: href, action: "Done", run: async () => {} });
  }
}

function rename(row) {
  const { name } = row.dataset;
  const plain = name.replace(/\/$/, "");
  const start = parentOf(plain).length;
  const ending = name === plain ? plain.lastIndexOf(".") : -1;
  ask({
    title: `Rename or move “${baseName(plain)}”`,
    text: "To move it, change the folders in front of its name.",
    label: "Path",
    value: plain,
    select: [start, ending > start ? ending : plain.length],
    action: "Save",
    run: moving(name, plain),
  });
}

/** Return what moves `name`: over something else only if told so a second time. */
function moving(name, plain) {
  let refused = null;
  return async (value) => {
    const path = value.trim().replace(/^\/+|\/+$/g, "");
    if (path === plain) {
      return;
    }
    const overwrite = path === refused;
    offer("Save");
    try {
      await move(name, path, overwrite);
    } catch (error) {
      if (error.status !== 412) {
        throw error;
      }
      refused = path;
      offer("Replace");
      throw new Error(replaceQuestion(name, path));
    }
    await refresh();
    announce(`Now it is ${path}.`);
  };
}

async function move(name, path, overwrite) {
  const ending = name.endsWith("/") ? "/" : "";
  await request("MOVE", urlOf(name), {
    Destination: urlOf(path + ending),
    Overwrite: overwrite ? "T" : "F",
  });
}

function replaceQuestion(name, path) {
  const lost = name.endsWith("/") ? "The folder there, with all that is in it," : "The file there";
  return `“${path}” exists already. ${lost} is lost if you replace it.`;
}

function remove(row) {
  const { name } = row.dataset;
  const isFolder = name.endsWith("/");
  ask({
    title: `Delete “${baseName(name)}”?`,
    text: isFolder ? "With all that is in it, for good." : "It is gone for good.",
    action: "Delete",
    danger: true,
    run: async () => {
      await request("DELETE", urlOf(name));
      await refresh();
      announce(`${baseName(name)} deleted.`);
    },
  });
}

function openMenu(row) {
  const isFolder = row.dataset.name.endsWith("/");
  for (const item of menu.querySelectorAll("[data-files]")) {
    item.hidden = isFolder;
  }
  menu.querySelector("a").href = row.querySelector("a").href;
  const unlocking = menu.querySelector("[data-action=unlock]");
  if (unlocking) {
    unlocking.hidden = !row.dataset.tokens;
  }
  const share = menu.querySelector("[data-share]");
  if (share) {
    const { name } = row.dataset;
    share.href = `${share.dataset.share}?share=${encodeURIComponent(`/${name}`)}#links`;
  }
  menu.showPopover();
  place(button.getBoundingClientRect());
  menu.querySelector("a:not([hidden]), button:not([hidden])").focus();
}

/** Below the button, or above it where there is no room. */
function place(around) {
  const { width, height } = menu.getBoundingClientRect();
  const below = around.bottom + height < document.documentElement.clientHeight;
  menu.style.left = `${Math.max(8, around.right - width)}px`;
  menu.style.top = `${below ? around.bottom : Math.max(8, around.top - height)}px`;
}

function chosen(event) {
  const { action } = event.target.dataset;
  const row = button.closest("tr");
  if (event.target.closest("a, button")) {
    menu.hidePopover();
    button.focus();
  }
  if (action) {
    Promise.resolve(ACTIONS[action](row)).catch((error) => showError(error.message));
  }
}

/** The arrow keys go through the menu too, as people know it from menus. */
function steer(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    const items = [...menu.querySelectorAll("a:not([hidden]), button:not([hidden])")];
    const next = items.indexOf(document.activeElement) + step;
    items.at(next % items.length).focus();
  }
}

export function setUpActions() {
  list.addEventListener("click", (event) => {
    const clicked = event.target.closest(".menu-button");
    if (clicked) {
      button = clicked;
      openMenu(clicked.closest("tr"));
    }
  });
  menu.addEventListener("click", chosen);
  menu.addEventListener("keydown", steer);
  menu.addEventListener("toggle", ({ newState }) =>
    button.setAttribute("aria-expanded", String(newState === "open")),
  );
  document.querySelector("#locks").addEventListener("click", ({ target }) => {
    if (target.matches("button.scripted")) {
      unlock(target.closest(".locked"), refresh);
    }
  });
  document.querySelector("#new-folder")?.addEventListener("click", newFolder);
}
