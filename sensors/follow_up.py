"""What follows the recording, beside it: what was decided is announced, what is queued is fired."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Final, Self

from ci_pipeline.intake import Intake

# While messages wait, runs are announced and fired no more often: each time takes a connection to the broker, one to
# Airflow and some transactions, and would take them for a handful of runs.
PACE_SECONDS: Final = 1.0


class FollowUp:
    """Announces and fires, each in a thread, while the next messages are recorded: `async with FollowUp(intake)`.

    At its end it waits for what is being done. Cancelled, it does not: what was not said or fired by then is in the
    database, for the next listener.
    """

    def __init__(self, intake: Intake, *, pace: float = PACE_SECONDS) -> None:
        """Use the intake that records; while messages wait, begin anew after so many seconds."""
        self._intake = intake
        self._hurry = asyncio.Event()
        self._runs: set[int] = set()
        self._at_leisure = False
        self._ends = False
        self._announcing = _Repeated(self._announce, pace, self._hurry)
        self._firing = _Repeated(self._fire, pace, self._hurry)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is being done, or leave it if something went wrong.

        Raises:
            Exception: whatever announcing or firing ended with.
        """
        self._ends = True
        self._hurry.set()
        works = (self._announcing, self._firing)
        try:
            if exc_type is None:
                await asyncio.gather(*(work.end() for work in works))
        finally:
            for work in works:
                await work.leave()

    def look(self, runs: Iterable[int], *, at_leisure: bool) -> None:
        """Announce and fire what was queued, without waiting for it.

        Args:
            runs: what was queued: it is announced before all else.
            at_leisure: whether no more messages wait. Else what speaks of no run is kept for later: it is nearly all
                there is to be said in a storm, and would take the time of recording it.

        Raises:
            Exception: what announcing or firing ended with before.
        """
        self._runs.update(runs)
        self._at_leisure = at_leisure
        if at_leisure:
            self._hurry.set()
        else:
            self._hurry.clear()
        if self._runs or at_leisure:
            self._announcing.ask()
            self._firing.ask()

    async def _announce(self) -> None:
        runs, self._runs = self._runs, set()
        if runs:
            await asyncio.to_thread(self._intake.announce_runs, runs)
        if self._at_leisure:
            await asyncio.to_thread(self._intake.announce_rest, self._has_no_time)

    def _has_no_time(self) -> bool:
        return bool(self._runs) or self._ends or not self._at_leisure

    async def _fire(self) -> None:
        await asyncio.to_thread(self._intake.fire_queued)


class _Repeated:
    """Work of which one is done at a time. Asked for meanwhile, it is done once more.

    That is `pace` seconds after it began the last time, or at once if there is a `hurry`.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], pace: float, hurry: asyncio.Event) -> None:
        self._work = work
        self._pace = pace
        self._hurry = hurry
        self._next = 0.0
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        self._asked = True
        if self._task is None or self._task.done():
            self._raise_failure()
            self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        if self._task is not None:
            await self._task

    async def leave(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _raise_failure(self) -> None:
        if self._task is not None:
            self._task.result()

    async def _run(self) -> None:
        while self._asked:
            await self._wait_for_its_time()
            self._asked = False
            self._next = time.monotonic() + self._pace
            await self._work()

    async def _wait_for_its_time(self) -> None:
        early = self._next - time.monotonic()
        if early > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(early):
                    await self._hurry.wait()
