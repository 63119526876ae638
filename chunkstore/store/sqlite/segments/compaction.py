"""Which segments are worth to be rewritten: a pure choice.

A segment never changes, so what is dead in it takes space until all of it is. And each upload
leaves segments of its own, however small. So the live chunks of some segments are now and then
copied to a new one, which takes their place:

- those that are **mostly dead**, the emptiest first, which gives back the most for the least
  writing, and needs the least room on a full disk;
- **small** ones, many at once, so that each byte is copied a few times at most on its way into a
  large segment.

All others stay as they are: at least half of each is live, and few of them are small. So the files
take at most twice what is live, and there are few more than a large one for each so many bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Of what is written to one new segment.
MOST_REWRITTEN: Final = 256 * 1024 * 1024
MOST_CHUNKS: Final = 8192
_MOSTLY_DEAD: Final = 1 / 2
# One that has fewer bytes and fewer chunks is small.
_SMALL: Final = 32 * 1024 * 1024
_FEW_CHUNKS: Final = MOST_CHUNKS // 2
_MERGED_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class SegmentUse:
    """A segment: the `size` of the chunks that were written to it, and of those that are `live`.

    `chunks` is the number of the latter.
    """

    id: int
    size: int
    live: int
    chunks: int


def choose(segments: Sequence[SegmentUse], room: int) -> Sequence[SegmentUse]:
    """Return the segments whose live chunks are to be copied to one new segment, in this order.

    They have at most `room` bytes that are live. None is chosen if no more is worth it.
    """
    dead = [each for each in segments if each.live <= each.size * _MOSTLY_DEAD]
    if chosen := _first_within(sorted(dead, key=_live_part), room):
        return chosen
    small = [each for each in segments if each.live < _SMALL and each.chunks < _FEW_CHUNKS]
    if len(small) < _MERGED_AT_ONCE:
        return ()
    chosen = _first_within(sorted(small, key=_live), room)
    return chosen if len(chosen) > 1 else ()


def _live_part(segment: SegmentUse) -> tuple[float, int]:
    return segment.live / max(1, segment.size), segment.live


def _live(segment: SegmentUse) -> int:
    return segment.live


def _first_within(segments: Sequence[SegmentUse], room: int) -> Sequence[SegmentUse]:
    """Return as many of the first as go into one segment and into the room."""
    chosen: list[SegmentUse] = []
    size = chunks = 0
    for segment in segments:
        size += segment.live
        chunks += segment.chunks
        if size > room or (chosen and (size > MOST_REWRITTEN or chunks > MOST_CHUNKS)):
            break
        chosen.append(segment)
    return chosen
