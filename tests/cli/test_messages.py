"""`messages` prints what was said, in order, in the archive's envelope or bare."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from ci_pipeline.cli.archive import envelope
from ci_pipeline.intake import Intake
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Outbox
from tests.cli.conftest import Cli
from tests.makers import new_run, play, pushed

RECORDED = sorted((Path(__file__).parents[1] / "data" / "messages").glob("org.centos.*.json"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem.partition("pipeline.")[2])
def test_the_envelope_is_that_of_the_recorded_messages(path: Path) -> None:
    """Keys, their order, their types and the dump in msgJson; only the signature's name is not claimed."""
    original = json.loads(path.read_text())
    row = Outbox(
        id=uuid4(),
        topic=original["topic"],
        body=original["msg"],
        created_at=datetime.fromtimestamp(original["timestamp"], UTC),
    )

    made = envelope(row)

    assert list(made) == ["i", "timestamp", "msg_id", "topic", "msgJson", "msg"]
    assert set(original) - set(made) == {"crypto"}
    assert {key: made[key] for key in ("i", "timestamp", "topic", "msg")} == {
        key: original[key] for key in ("i", "timestamp", "topic", "msg")
    }
    assert made["msgJson"] == original.get("msgJson", made["msgJson"])
    assert made["msg_id"] == f"2017-{row.id}"


@pytest.mark.usefixtures("database")
def test_messages_of_a_run_come_in_the_order_they_are_said_in(cli: Cli, current: Settings) -> None:
    """Only those of the run, the first one first."""
    other, run = new_run(), new_run("hostinfo")
    play(current, other, Status.SUCCESS)
    play(current, run, Status.SUCCESS, Status.FAILURE)

    result = cli("messages", "--run", f"f26/{run.number}", "--format", "body")

    bodies = [json.loads(line) for line in result.stdout.splitlines()]
    events = [body["topic"].partition("pipeline.")[2] for body in bodies]
    assert events == [
        "package.running",
        "package.complete",
        "package.test.functional.queued",
        "package.test.functional.running",
        "package.test.functional.complete",
    ]
    assert {body["repo"] for body in bodies} == {"hostinfo"}


@pytest.mark.usefixtures("database")
def test_messages_are_in_envelopes_unless_told_otherwise(cli: Cli, current: Settings) -> None:
    """The default is what an archive returns; the body inside is the body."""
    play(current, new_run(), Status.SUCCESS)

    envelopes = [json.loads(line) for line in cli("messages").stdout.splitlines()]
    bodies = [json.loads(line) for line in cli("messages", "--format", "body").stdout.splitlines()]

    assert [one["msg"] for one in envelopes] == bodies
    assert [json.loads(one["msgJson"]) for one in envelopes] == bodies
    assert bodies


@pytest.mark.usefixtures("database")
def test_no_messages_print_nothing(cli: Cli) -> None:
    """No lines, and no error: a program reads zero messages."""
    result = cli("messages", "--json")

    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.usefixtures("database")
def test_what_is_ignored_and_not_announced_yet_is_among_them(cli: Cli, current: Settings) -> None:
    """In the words it will be announced in, behind the rest; it is of no run."""
    run = new_run()
    Intake(current, trigger_run_id="x").record([pushed("polari")])
    play(current, run, Status.SUCCESS)

    everything = [json.loads(line) for line in cli("messages", "--format", "body").stdout.splitlines()]
    of_the_run = cli("messages", "--run", f"f26/{run.number}").stdout

    assert [body["repo"] for body in everything] == ["greeter"] * (len(everything) - 1) + ["polari"]
    assert everything[-1]["topic"].endswith(".ci.pipeline.package.ignore")
    assert "polari" not in of_the_run
