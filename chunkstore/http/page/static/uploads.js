// Files come from the buttons of a page, or are dropped on it, and are sent.

import { showError } from "./dialogs.js";
import { Panel } from "./panel.js";
import { filesOfDrop, filesOfInput } from "./picked.js";
import { Queue } from "./queue.js";

const queue = new Queue();

/** Take files that are chosen or dropped; `onDone` hears of each that is there. */
export function setUpUploads(onDone) {
  new Panel(queue);
  queue.addEventListener("change", ({ detail }) => {
    if (detail.state === "done") {
      onDone();
    }
  });
  addEventListener("online", () => queue.retryNow());
  addEventListener("offline", () => queue.loseNetwork());
  for (const input of document.querySelectorAll("#toolbar input[type=file]")) {
    input.addEventListener("change", () => {
      queue.add(filesOfInput(input));
      // Or the same file, picked again, would be no change.
      input.value = "";
    });
    // Inputs look different everywhere; a button stands for each.
    input.nextElementSibling.addEventListener("click", () => input.click());
  }
  setUpDrop();
}

function setUpDrop() {
  const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
  const mark = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) {
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      mark(true);
    }
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
  addEventListener("drop", async (event) => {
    mark(false);
    if (hasFiles(event)) {
      event.preventDefault();
      await addDropped(event.dataTransfer);
    }
  });
}

async function addDropped(dataTransfer) {
  try {
    queue.add(await filesOfDrop(dataTransfer));
  } catch (error) {
    showError(`What was dropped could not be read: ${error.message}`);
  }
}
