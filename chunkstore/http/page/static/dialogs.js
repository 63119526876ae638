// Questions, each in a dialog that stays open until it is answered or what was asked for is done.

const dialog = document.querySelector("#ask");
const form = dialog.querySelector("form");
const field = dialog.querySelector("label");
const input = field.querySelector("input");
const problem = dialog.querySelector(".problem");
const go = dialog.querySelector("[value=go]");
const errors = document.querySelector("#errors");

let current = null;

/**
 * Ask; `run` carries out what was asked for, given what was typed in. While that fails the dialog
 * stays and says why.
 *
 * @param {{title: string, text?: string, action: string, danger?: boolean, label?: string,
 *   secret?: boolean, value?: string, select?: [number, number], run: (value: string) => Promise<void>}} question
 */
export function ask(question) {
  current = question;
  dialog.querySelector("h2").textContent = question.title;
  dialog.querySelector(".text").textContent = question.text ?? "";
  go.textContent = question.action;
  go.classList.toggle("danger", Boolean(question.danger));
  problem.textContent = "";
  field.hidden = question.label === undefined;
  input.disabled = field.hidden;
  field.querySelector("span").textContent = question.label ?? "";
  input.type = question.secret ? "password" : "text";
  input.autocomplete = question.secret ? "new-password" : "off";
  input.value = question.value ?? "";
  dialog.showModal();
  if (!field.hidden) {
    input.focus();
    input.setSelectionRange(...(question.select ?? [0, input.value.length]));
  }
}

/** Change what the button of an open dialog says. */
export function offer(action) {
  go.textContent = action;
}

/** Show an error until it is dismissed. */
export function showError(text) {
  const shown = document.querySelector("#error").content.cloneNode(true).firstElementChild;
  shown.querySelector("p").textContent = text;
  shown.querySelector("button").addEventListener("click", () => shown.remove());
  errors.append(shown);
}

async function run() {
  go.disabled = true;
  problem.textContent = "";
  try {
    await current.run(input.value);
    dialog.close();
    input.value = "";
  } catch (error) {
    problem.textContent = error.message;
  } finally {
    go.disabled = false;
  }
}

export function setUpDialogs() {
  // Not a button that submits: being the first, it would be what Enter in the field means.
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
}
