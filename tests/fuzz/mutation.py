"""Turns valid input into input that is nearly valid. All chance comes from the ``Random`` that is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz import corpus

#: Edits of one input: mostly few, so that it gets past the first check.
_EDITS = (1, 1, 1, 2, 2, 3, 5, 12)
#: Repetitions of a part: what nests, or what is long.
_REPEATS = (2, 3, 9, 40, 400, 3000)
LARGEST = 40_000


def noise(rng: Random, longest: int = 60) -> bytes:
    """Bytes of no sense."""
    return rng.randbytes(rng.randrange(longest))


def bytewise(rng: Random, data: bytes) -> bytes:
    """Some bytes changed, lost, repeated, or replaced by odd words."""
    out = bytearray(data)
    for _ in range(rng.choice(_EDITS)):
        begin, end = _span(rng, len(out))
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[begin % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[begin:end] = noise(rng, 8)
        elif kind == 2:
            out[begin:begin] = rng.choice(corpus.WORDS)
        elif kind == 3:
            del out[begin:end]
        elif kind == 4:
            out[begin:end] = _repeated(rng, out[begin:end])
        else:
            del out[end:]
    return bytes(out[:LARGEST])


def wordwise(rng: Random, text: str, words: Sequence[str]) -> str:
    """Some words replaced by others of ``words``, lost, doubled, wrapped or exchanged."""
    out = corpus.tokens(text)
    for _ in range(rng.choice(_EDITS)):
        begin, end = _span(rng, len(out))
        kind = rng.randrange(7)
        if kind <= 1 and out:
            out[begin % len(out)] = rng.choice(words)
        elif kind == 2:
            out[begin:begin] = [" ", rng.choice(words), " "]
        elif kind == 3:
            del out[begin:end]
        elif kind == 4:
            out[begin:end] = out[begin:end] * rng.choice(_REPEATS) if rng.random() < 0.2 else out[begin:end] * 2
        elif kind == 5:
            opening, closing = rng.choice(("()", "[]", "{}", "''", ("NOT (", ")"), ("CASE WHEN ", " THEN TRUE END")))
            times = rng.choice((1, 1, 2, 12, 20, 400))
            out[begin:end] = [opening * times, *out[begin:end], closing * times]
        elif out:
            other = rng.randrange(len(out))
            out[begin % len(out)], out[other] = out[other], out[begin % len(out)]
    return "".join(out)[:LARGEST]


def text(data: bytes) -> str:
    """The bytes as whoever reads a file as UTF-8 would hand them on: with no half characters."""
    return data.decode("utf-8", "replace")


def value(rng: Random, depth: int = 2) -> Any:
    """A JSON value that fits nowhere in particular."""
    kind = rng.randrange(9 if depth else 7)
    if kind <= 2:
        return rng.choice(corpus.ODD)
    if kind <= 4:
        return rng.choice(corpus.NUMBERS)
    if kind == 5:
        return rng.choice((None, True, False))
    if kind == 6:
        return rng.choice(corpus.EVENT_TYPES) * rng.choice((1, 1, 60))
    if kind == 7:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(corpus.ODD): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def encoded(rng: Random, stated: Any) -> bytes:
    """As JSON; NaN, Infinity and half characters as programs write them that should not."""
    return json.dumps(stated, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _span(rng: Random, length: int) -> tuple[int, int]:
    begin = rng.randrange(length + 1)
    return begin, min(length, begin + rng.choice((0, 1, 1, 2, 4, 16)))


def _repeated(rng: Random, part: bytes | bytearray) -> bytes:
    return bytes(part) * rng.choice(_REPEATS)
