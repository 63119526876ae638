// Digests as they travel: 32 bytes each, end to end.

export const DIGEST_SIZE = 32;

/** Each digest in what stands end to end, or in records of `stride` bytes that begin with one. */
export function* digestsIn(bytes, stride = DIGEST_SIZE) {
  for (let at = 0; at + stride <= bytes.length; at += stride) {
    yield bytes.subarray(at, at + DIGEST_SIZE);
  }
}

/** What a digest is known by in sets and maps: a text, a character for each byte. */
export function keyOf(digest) {
  return String.fromCharCode(...digest);
}

export function keysIn(bytes, stride) {
  return new Set(Array.from(digestsIn(bytes, stride), keyOf));
}

export function joined(digests) {
  const bytes = new Uint8Array(DIGEST_SIZE * digests.length);
  digests.forEach((digest, index) => bytes.set(digest, DIGEST_SIZE * index));
  return bytes;
}
