// Write locks. The server renders who has them; here the hours are those of whoever looks, and locks
// are broken by who may.

import { announce } from "./announcer.js";
import { ask } from "./dialogs.js";
import { baseName, formatHour, parentOf } from "./format.js";
import { request, urlOf } from "./server.js";

/** Show until when locks hold, in an element that has just come from the server. */
export function showHours(element) {
  for (const time of element.querySelectorAll(".lock time")) {
    time.title = time.textContent;
    time.textContent = formatHour(time.dateTime);
  }
}

/**
 * Break the locks that an element tells of, those and none taken since; `refresh` brings up to date
 * what is shown.
 */
export function unlock(element, refresh) {
  const { name, tokens } = element.dataset;
  const said = element.querySelector(".lock").textContent;
  const fields = tokens.split(" ").map((token) => ["token", token]);
  const body = new URLSearchParams([["unlock", `/${name}`], ...fields]);
  ask({
    title: `Unlock “${baseName(name) || "files"}”?`,
    text:
      `It is ${said}. Whoever has it open cannot save it any more, and somebody else may change ` +
      "it. If you can, ask them first.",
    action: "Unlock",
    danger: true,
    run: async () => {
      const type = { "Content-Type": "application/x-www-form-urlencoded" };
      await request("POST", urlOf(name.endsWith("/") ? name : parentOf(name)), type, body.toString());
      await refresh();
      announce(`${baseName(name) || "files"} is unlocked.`);
    },
  });
}
