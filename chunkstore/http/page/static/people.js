// The pages of an account and of administration: forms and buttons that have the server run a
// command, asked about first where something ends, and lists that are brought up to date.

import { announce } from "./announcer.js";
import { ask, setUpDialogs } from "./dialogs.js";
import { formatTime } from "./format.js";
import { Problem, loadPage, request, root, urlAt } from "./server.js";

const confirmation = document.querySelector("#confirm");
const secret = document.querySelector("#secret");

/** What a field stands for among the arguments of a command. */
const KINDS = {
  text: (text) => text,
  password: (text) => text,
  number: Number,
  count: (text) => (text ? Number(text) : null),
  gib: (text) => (text ? Math.round(Number(text) * 2 ** 30) : null),
  flag: Boolean,
  optional: (text) => text || null,
  lines: (text) => [text],
  words: (text) => text.split(/[\s,]+/).filter(Boolean),
};

/** Run a command; if the password was given too long ago, ask for it first. */
async function run(command, parameters) {
  try {
    return await send(command, parameters);
  } catch (error) {
    if (error.kind === "sign-in-needed") {
      location.reload();
    }
    if (error.kind !== "password-needed") {
      throw error;
    }
    await confirm();
    return send(command, parameters);
  }
}

async function send(command, parameters) {
  const headers = { "Content-Type": "application/json" };
  const url = urlAt(`access/${command.replaceAll(" ", "/")}`);
  const response = await request("POST", url, headers, JSON.stringify(parameters));
  return (await response.json()).result;
}

/** Ask for the password until it is right, or nobody wants to any more. */
function confirm() {
  const form = confirmation.querySelector("form");
  const input = form.querySelector("input[type=password]");
  const problem = form.querySelector(".problem");
  return new Promise((resolve, reject) => {
    const ended = new AbortController();
    const { signal } = ended;
    confirmation.addEventListener("close", () => {
      ended.abort();
      input.value = "";
      reject(new Problem(0, "Nothing has changed, as the password was not given."));
    }, { signal });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      problem.textContent = "";
      try {
        await send("confirm", { password: input.value });
        resolve();
        confirmation.close();
      } catch (error) {
        problem.textContent = error.message;
        input.select();
      }
    }, { signal });
    problem.textContent = "";
    confirmation.showModal();
    input.focus();
  });
}

function argumentsOf(form) {
  const fields = [...form.elements].filter(({ name }) => name);
  return Object.fromEntries(fields.map((field) => [field.name, valueOf(field)]));
}

function valueOf(field) {
  return field.type === "checkbox" ? field.checked : KINDS[field.dataset.kind ?? "text"](field.value);
}

async function submitted(form) {
  const button = form.querySelector("button.primary");
  button.disabled = true;
  try {
    const result = await run(form.dataset.command, argumentsOf(form));
    if (form.dataset.then) {
      location.assign(form.dataset.then);
      return;
    }
    form.reset();
    form.closest("details")?.removeAttribute("open");
    await refresh();
    if (result.path) {
      showLink(new URL(urlAt(result.path.slice(1)), location));
    } else if (result.token) {
      showToken(result.token);
    } else {
      announce("Done.");
    }
  } catch (error) {
    tell(form, error);
  } finally {
    button.disabled = false;
  }
}

/** Say what failed where it was asked for. */
function tell(form, { message }) {
  let problem = form.querySelector(".problem");
  if (!problem) {
    problem = document.createElement("p");
    problem.className = "problem";
    problem.setAttribute("role", "alert");
    form.querySelector("button.primary").before(problem);
  }
  problem.textContent = message;
}

function pressed({ dataset }) {
  const parameters = JSON.parse(dataset.arguments);
  ask({
    title: dataset.title,
    text: dataset.explanation,
    action: dataset.field ? "Save" : "Go on",
    danger: !dataset.field,
    label: dataset.field ? dataset.fieldLabel : undefined,
    secret: dataset.kind === "password",
    run: async (value) => {
      const given = dataset.field ? { [dataset.field]: KINDS[dataset.kind](value) } : {};
      await run(dataset.command, { ...parameters, ...given });
      await refresh();
      announce("Done.");
    },
  });
}

/** Bring what the server has shown up to date; what people are filling in stays. */
async function refresh() {
  const page = await loadPage(new URL(location.href));
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = page.getElementById(old.id);
    if (now) {
      old.replaceWith(document.adoptNode(now));
    }
  }
  localise();
}

/** Show moments in the time of whoever looks. */
function localise() {
  for (const time of document.querySelectorAll("time[datetime*=T]:not([title])")) {
    time.title = time.textContent;
    if (time.textContent.includes("UTC")) {
      time.textContent = formatTime(time.dateTime);
    }
  }
}

function showToken(token) {
  show("Token", token);
  secret.querySelector("code").textContent = `curl -u :${token} ${new URL(root, location)}`;
}

function showLink(url) {
  show("Link", url.href);
}

function show(what, text) {
  const [title, label] = secret.querySelectorAll("h2, label span");
  title.textContent = `The new ${what.toLowerCase()}`;
  label.textContent = what;
  secret.querySelector("code").parentElement.hidden = what !== "Token";
  secret.querySelector("input").value = text;
  secret.showModal();
  secret.querySelector("input").select();
}

async function copySecret() {
  const input = secret.querySelector("input");
  input.select();
  try {
    await navigator.clipboard.writeText(input.value);
    announce("Copied.");
  } catch {
    // Browsers give the clipboard to pages over TLS only; it is selected, to be copied by hand.
    announce("Selected; copy it by hand.");
  }
}

function setUpSecret() {
  secret.querySelector("button.primary").addEventListener("click", copySecret);
  secret.addEventListener("close", () => {
    secret.querySelector("input").value = "";
    secret.querySelector("code").textContent = "";
  });
}

function setUpForms() {
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.command) {
      event.preventDefault();
      submitted(event.target);
    }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-command]");
    if (button) {
      pressed(button);
    }
  });
  for (const again of document.querySelectorAll("[data-repeats]")) {
    const first = again.form.elements[again.dataset.repeats];
    const compare = () =>
      again.setCustomValidity(again.value === first.value ? "" : "The two are not the same.");
    again.addEventListener("input", compare);
    first.addEventListener("input", compare);
  }
}

setUpDialogs();
confirmation.querySelector(".cancel").addEventListener("click", () => confirmation.close());
setUpSecret();
setUpForms();
localise();
