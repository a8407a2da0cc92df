"""The targets of the fuzzer hold for what they are tried with first, and for thousands of things like it."""

import contextlib
import random
from collections.abc import Iterator
from typing import Final

import pytest

from tests.fuzz.conftest import Amount
from tests.fuzz.targets import TARGETS, WORDS, Target

MUTATIONS: Final = 2_000
LONGEST: Final = 1_500


def mutated(chance: random.Random, target: Target) -> bytes:
    """Return a seed in which some bytes are others, lost, said again, or words of the language."""
    raw = bytearray(chance.choice(target.seeds)[:LONGEST])
    for _ in range(chance.randint(1, 6)):
        start = chance.randrange(len(raw) + 1)
        end = min(len(raw), start + chance.choice([0, 1, 2, 8, 64]))
        piece = chance.choice([*WORDS, *target.words, bytes(raw[start:end]) * 2, b"", chance.randbytes(2)])
        raw[start:end] = piece
    return bytes(raw)


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_answers_to_whatever_it_is_given(name: str, amount: Amount) -> None:
    """With what it read, or the error that it says it raises; and nothing it gives can steer a terminal or a table."""
    target, chance = TARGETS[name], random.Random(None if amount.anew else name)  # noqa: S311 - nothing is secret
    for raw in (*target.seeds, b""):
        target.read(raw)
    for _ in range(MUTATIONS):
        raw = mutated(chance, target)
        with _naming(raw):
            target.read(raw)


@contextlib.contextmanager
def _naming(raw: bytes) -> Iterator[None]:
    """Add to whatever goes wrong what it went wrong with."""
    try:
        yield
    except Exception as error:
        error.add_note(f"with {raw!r}")
        raise
