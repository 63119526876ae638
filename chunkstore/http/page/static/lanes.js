// How many bodies of files are on their way at once, from all transfers of the page together.
//
// A browser opens six connections to a server, and some must be left for the list and the menus.

const MOST = 4;

// Of each transfer that sends: how many of its bodies are on their way.
const busy = new Map();
let total = 0;
let waiting = [];

/** Send once there is a lane; `owner` is the transfer, and who has the fewest is the next. */
export async function inLane(owner, send) {
  await free(owner);
  try {
    return await send();
  } finally {
    leave(owner);
  }
}

function free(owner) {
  return new Promise((enter) => {
    waiting.push({ owner, enter });
    letIn();
  });
}

function leave(owner) {
  total -= 1;
  busy.set(owner, busy.get(owner) - 1);
  if (!busy.get(owner)) {
    busy.delete(owner);
  }
  letIn();
}

function letIn() {
  while (total < MOST && waiting.length) {
    const next = waiting.reduce((best, one) => (load(one) < load(best) ? one : best));
    waiting = waiting.filter((one) => one !== next);
    total += 1;
    busy.set(next.owner, load(next) + 1);
    next.enter();
  }
}

function load({ owner }) {
  return busy.get(owner) ?? 0;
}
