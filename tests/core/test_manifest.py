"""Manifests: what the digest, the ties and the proof of a chunk list tell apart."""

from __future__ import annotations

from dataclasses import replace

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ListHasher, Manifest, tie

DIGESTS = st.binary(min_size=32, max_size=32)
CHUNKS = st.lists(st.tuples(DIGESTS, st.integers(1, 2**32 - 1)), max_size=5)
INTEGERS = st.integers(0, 2**62)


def hasher_of(chunks: list[tuple[bytes, int]]) -> ListHasher:
    hasher = ListHasher()
    for digest, size in chunks:
        hasher.add(digest, size)
    return hasher


@given(chunks=CHUNKS)
def test_the_digest_of_a_list_is_that_of_its_entries(chunks: list[tuple[bytes, int]]) -> None:
    hasher = hasher_of(chunks)
    entries = b"".join(digest + size.to_bytes(4) for digest, size in chunks)
    assert hasher.digest().raw == blake3(entries).digest()
    assert (hasher.size, hasher.chunk_count) == (sum(size for _, size in chunks), len(chunks))


@given(one=CHUNKS, other=CHUNKS)
def test_only_the_list_that_was_sealed_proves_a_manifest(
    one: list[tuple[bytes, int]], other: list[tuple[bytes, int]]
) -> None:
    sealed = hasher_of(one).seal(7, 4096, Digest.of(b""))
    assert hasher_of(one).proves(sealed)
    assert hasher_of(other).proves(sealed) == (one == other)


@given(chunks=CHUNKS, digest=DIGESTS)
def test_a_copy_of_a_hasher_goes_its_own_way(
    chunks: list[tuple[bytes, int]], digest: bytes
) -> None:
    hasher = hasher_of(chunks)
    copy = hasher.copy()
    copy.add(digest, 5)
    assert hasher.digest() == hasher_of(chunks).digest()
    assert copy.digest() == hasher_of([*chunks, (digest, 5)]).digest()


@given(
    place=st.tuples(INTEGERS, INTEGERS, st.integers(1, 2**32 - 1), DIGESTS),
    other=st.tuples(INTEGERS, INTEGERS, st.integers(1, 2**32 - 1), DIGESTS),
    taken=st.tuples(*[st.booleans()] * 4),
)
def test_a_tie_holds_for_one_place_alone(
    place: tuple[int, int, int, bytes],
    other: tuple[int, int, int, bytes],
    taken: tuple[bool, bool, bool, bool],
) -> None:
    mixed = tuple(b if take else a for a, b, take in zip(place, other, taken, strict=True))
    assert (tie(*mixed) == tie(*place)) == (mixed == place)  # type: ignore[arg-type]
    assert -(2**63) <= tie(*place) < 2**63


def test_a_proof_holds_for_one_manifest_alone() -> None:
    manifest = Manifest(1, 2, 4096, Digest(b"a" * 32), 3, Digest(b"b" * 32))
    changed = [
        replace(manifest, id=2),
        replace(manifest, size=3),
        replace(manifest, chunk_size=8192),
        replace(manifest, digest=Digest(b"b" * 32)),
        replace(manifest, chunk_count=4),
        replace(manifest, list_digest=Digest(b"a" * 32)),
    ]
    assert len({each.proof for each in (manifest, *changed)}) == len(changed) + 1
