"""What follows the recording: beside it, one at a time, what matters first."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable

import pytest

from sensors.follow_up import FollowUp


class Intake:
    """An intake that notes what it is asked for. `gate` holds up announcing; `endless`: the rest has no end."""

    def __init__(self, *, endless: bool = False) -> None:
        self.asked: list[object] = []
        self.gate = threading.Event()
        self.gate.set()
        self.endless = endless
        self.failure: Exception | None = None

    def announce_runs(self, runs: Iterable[int]) -> None:
        self.gate.wait(60)
        self.asked.append(sorted(runs))

    def announce_rest(self, stop: Callable[[], bool]) -> None:
        self.gate.wait(60)
        self.asked.append("rest")
        while self.endless and not stop():
            time.sleep(0.001)

    def fire_queued(self) -> None:
        if self.failure:
            raise self.failure

    @property
    def told(self) -> list[object]:
        """What was announced so far."""
        return list(self.asked)


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is true, for a minute."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - what it waits for happens in a thread
            await asyncio.sleep(0.001)


def test_runs_are_announced_and_the_rest_only_at_leisure() -> None:
    """In a storm nobody waits for what is ignored."""
    intake = Intake()

    async def listen() -> None:
        async with FollowUp(intake) as follow_up:
            follow_up.look([7], at_leisure=False)
            follow_up.look([], at_leisure=False)
        assert intake.told == [[7]]
        async with FollowUp(intake) as follow_up:
            follow_up.look([], at_leisure=True)

    asyncio.run(listen())

    assert intake.told == [[7], "rest"]


def test_nobody_waits_for_what_follows() -> None:
    """What is queued while something is announced is announced after it, once, all of it."""
    intake = Intake()

    async def listen() -> None:
        intake.gate.clear()
        async with FollowUp(intake) as follow_up:
            for run in (1, 2, 3):
                follow_up.look([run], at_leisure=False)
                await asyncio.sleep(0)
            intake.gate.set()

    asyncio.run(listen())

    assert intake.told == [[1], [2, 3]]


def test_what_matters_does_not_wait_for_the_rest() -> None:
    """However much that is."""
    intake = Intake(endless=True)

    async def listen() -> None:
        async with FollowUp(intake) as follow_up:
            follow_up.look([], at_leisure=True)
            await until(lambda: "rest" in intake.asked)
            follow_up.look([7], at_leisure=True)
            await until(lambda: [7] in intake.asked)

    asyncio.run(listen())

    assert intake.told[0] == "rest"
    assert [7] in intake.told


def test_when_a_storm_begins_the_rest_is_left() -> None:
    """The time is for the ledger, from the next batch on; afterwards it goes on."""
    intake = Intake(endless=True)

    async def listen() -> None:
        async with FollowUp(intake) as follow_up:
            follow_up.look([], at_leisure=True)
            await until(lambda: "rest" in intake.asked)
            follow_up.look([], at_leisure=False)
            await until(follow_up._announcing._task.done)
            follow_up.look([], at_leisure=True)
            await until(lambda: intake.told == ["rest"] * 2)

    asyncio.run(listen())

    assert intake.told == ["rest"] * 2


def test_a_listener_that_rotates_does_not_stay_for_the_rest() -> None:
    """What is being published is, and the next listener goes on with it."""
    intake = Intake(endless=True)

    async def listen() -> None:
        async with FollowUp(intake) as follow_up:
            follow_up.look([], at_leisure=True)

    asyncio.run(listen())

    assert intake.told == ["rest"]


def test_a_failure_ends_the_listening() -> None:
    """Airflow shows it, and starts another one: nobody listens for ever who cannot fire."""
    intake = Intake()
    intake.failure = RuntimeError("broken")

    async def listen() -> None:
        async with FollowUp(intake) as follow_up:
            while True:
                follow_up.look([], at_leisure=True)
                await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(listen())


def test_a_failure_at_the_end_is_no_less_one() -> None:
    """There is no further look that would raise it."""
    intake = Intake()
    intake.failure = RuntimeError("broken")

    async def listen() -> None:
        async with FollowUp(intake) as follow_up:
            follow_up.look([], at_leisure=True)

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(listen())


def test_one_that_is_cancelled_waits_for_nothing() -> None:
    """The triggerer is being stopped; what is not said by then is in the database."""
    intake = Intake()

    async def listen() -> None:
        async with FollowUp(intake) as follow_up:
            follow_up.look([1], at_leisure=False)
            await asyncio.sleep(3600)

    async def stop() -> list[object]:
        intake.gate.clear()
        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        listening.cancel()
        await asyncio.wait([listening])
        told = intake.told
        intake.gate.set()
        return told

    assert asyncio.run(stop()) == []


def test_while_messages_wait_runs_are_announced_at_a_pace() -> None:
    """Each time takes connections: those that are queued meanwhile go together, and at once when there is leisure."""
    intake = Intake()

    async def listen() -> None:
        async with FollowUp(intake, pace=3600) as follow_up:
            follow_up.look([1], at_leisure=False)
            await until(lambda: intake.told == [[1]])
            for run in (2, 3):
                follow_up.look([run], at_leisure=False)
                await asyncio.sleep(0)
            assert intake.told == [[1]]
            follow_up.look([], at_leisure=True)
            await until(lambda: "rest" in intake.asked)

    asyncio.run(listen())

    assert intake.told == [[1], [2, 3], "rest"]


def test_a_pace_is_no_longer_than_it_says() -> None:
    """A storm may go on for very long."""
    intake = Intake()

    async def listen() -> None:
        async with FollowUp(intake, pace=0.01) as follow_up:
            for run in (1, 2):
                follow_up.look([run], at_leisure=False)
                await until(lambda run=run: [run] in intake.asked)

    asyncio.run(listen())

    assert intake.told == [[1], [2]]
