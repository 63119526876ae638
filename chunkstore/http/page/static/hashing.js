// Digests of chunks, computed by a worker, so that the page goes on answering.
//
// The one worker is started when the first file wants it. Where it cannot be, as WebAssembly is
// missing or forbidden, nothing is hashed, and files are sent whole.

const address = new URL("hasher.js", import.meta.url).href;

let started = null;
let asked = 0;
const waiting = new Map();

/** Whether chunks can be hashed here. */
export async function canHash() {
  return (await worker()) !== null;
}

/**
 * Return the digests of the chunks of `file` from `start` to `stop`, end to end.
 *
 * The worker reads the file by itself, a few MiB at a time: none of its bytes come here.
 */
export async function digestsOf(file, start, stop, chunkSize) {
  const hasher = await worker();
  if (hasher === null) {
    throw new Error("The file cannot be hashed here.");
  }
  asked += 1;
  const id = asked;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    hasher.postMessage({ id, file, start, stop, chunkSize });
  });
}

function worker() {
  started ??= start();
  return started;
}

/** Return the worker once it has said that it can hash, null if it cannot. */
function start() {
  return new Promise((resolve) => {
    let hasher;
    try {
      hasher = new Worker(trusted());
    } catch {
      resolve(null);
      return;
    }
    hasher.onerror = () => {
      // It does not come to life, or has died: from now on files are sent whole.
      started = Promise.resolve(null);
      resolve(null);
      waiting.forEach(({ reject }) => reject(new Error("Hashing has failed.")));
      waiting.clear();
    };
    hasher.onmessage = ({ data }) => {
      if ("ready" in data) {
        resolve(data.ready ? hasher : null);
        return;
      }
      const { resolve: answer, reject } = waiting.get(data.id);
      waiting.delete(data.id);
      data.error ? reject(new Error(data.error)) : answer(data.digests);
    };
  });
}

/** The page's policy lets scripts name one address that code is loaded from: this one. */
function trusted() {
  const rules = { createScriptURL: () => address };
  return globalThis.trustedTypes?.createPolicy("hasher", rules).createScriptURL("") ?? address;
}
