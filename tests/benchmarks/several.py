"""Changes side by side beside the same changes one after another; what the stack takes for them."""

import itertools
import time
from collections.abc import Sequence
from functools import partial

from tests.benchmarks.live import BRANCHES, PACKAGES, Live, Pushed
from tests.benchmarks.measuring import Book, Row, alternately
from tests.benchmarks.watching import Taken, watching


def measure(book: Book, stack: Live, *, changes: int) -> None:
    """Push changes of so many packages on both branches at once, and as many one after another."""
    targets = list(itertools.product(PACKAGES[: changes // len(BRANCHES)], BRANCHES))
    taken: list[Taken] = []
    measures = [partial(_at_once, stack, targets, taken), partial(_one_by_one, stack, targets, taken)]
    (ours,), (theirs,) = alternately(1, *measures)
    name = f"{changes} changes of {changes // len(BRANCHES)} packages on {len(BRANCHES)} branches at once"
    book.rows.append(Row(name, "as many of the same packages, one after another", "s", [ours], [theirs]))
    at_once, one_by_one = [sum(one.cpu.values()) for one in taken]
    book.rows.append(Row(f"CPU of the stack for {name}", "one after another", "s of CPU", [at_once], [one_by_one]))
    for what, one in zip((f"{changes} runs at once", "the same one by one"), taken, strict=True):
        one.write(book, what)


def _at_once(stack: Live, targets: Sequence[tuple[str, str]], taken: list[Taken]) -> float:
    began = time.monotonic()
    with watching(stack.settings) as one:
        pushed: list[Pushed] = [stack.push(repo, "2.0", branch) for repo, branch in targets]
        for each in pushed:
            stack.seconds_of(each)
    taken.append(one)
    return time.monotonic() - began


def _one_by_one(stack: Live, targets: Sequence[tuple[str, str]], taken: list[Taken]) -> float:
    began = time.monotonic()
    with watching(stack.settings) as one:
        for repo, branch in targets:
            stack.seconds_of(stack.push(repo, "2.1", branch))
    taken.append(one)
    return time.monotonic() - began
