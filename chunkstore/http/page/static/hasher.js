
// A worker beside the page: the digests of a file's chunks, by BLAKE3 in WebAssembly. The server
// sends hash-wasm's blake3.umd.min.js before it, in one script, as the worker may load nothing.
//
// It is asked with { id, file, start, stop, chunkSize }, and answers with { id, digests }, which
// stand end to end, or with { id, error }. Its first word is { ready }: whether it can hash at all.

// Of each question one piece is hashed while the next is read.
const PIECE_SIZE = 8 * 1024 * 1024;

const hasher = self.hashwasm.createBLAKE3();

hasher.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ ready: false, error: String(error) }),
);

self.onmessage = async ({ data: { id, ...wanted } }) => {
  try {
    const digests = await hash(await hasher, wanted);
    postMessage({ id, digests }, [digests.buffer]);
  } catch (error) {
    postMessage({ id, error: String(error) });
  }
};

async function hash(blake3, { file, start, stop, chunkSize }) {
  const digests = new Uint8Array(32 * Math.ceil((stop - start) / chunkSize));
  const pieceSize = chunkSize * Math.max(1, Math.floor(PIECE_SIZE / chunkSize));
  const read = (at) => file.slice(at, Math.min(at + pieceSize, stop)).arrayBuffer();
  let filled = 0;
  let coming = read(start);
  for (let at = start; at < stop; at += pieceSize) {
    const piece = new Uint8Array(await coming);
    if (piece.length !== Math.min(pieceSize, stop - at)) {
      throw new Error("The file is shorter than it was.");
    }
    coming = read(at + pieceSize);
    // Whoever stops waiting for it must not leave an error that nobody takes.
    coming.catch(() => {});
    for (let begin = 0; begin < piece.length; begin += chunkSize) {
      const chunk = piece.subarray(begin, begin + chunkSize);
      digests.set(blake3.init().update(chunk).digest("binary"), filled);
      filled += 32;
    }
  }
  return digests;
}
