"""What is known to be secret is in no text that goes through `redacted`, however it is written there."""

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, quote_plus

import pytest

from ci_pipeline import redaction
from ci_pipeline.errors import BusUnreachable, CiPipelineError, SinkUnreachable
from ci_pipeline.executors.report import aborted, infrastructure_failure
from ci_pipeline.redaction import redacted

ODD = "pa/ss@wo\"rd'%\\é"


@pytest.mark.parametrize("write", [str, lambda text: quote(text, safe=""), json.dumps, repr, quote_plus])
def test_a_secret_is_masked_in_every_spelling(write: object) -> None:
    """As it is, in an address, in JSON and in what Python shows of a value."""
    redaction.hide([ODD])
    text = f"before {write(ODD)} after"  # type: ignore[operator]

    assert "wo" not in redacted(text)
    assert redacted(text).startswith("before ")
    assert redacted(text).endswith(" after")


def test_a_secret_within_another_one_leaves_nothing_of_it() -> None:
    """The longer one goes first."""
    redaction.hide(["canary", "canary-and-more"])

    assert redacted("canary-and-more, canary") == "***, ***"


def test_what_is_learnt_meanwhile_disturbs_nobody() -> None:
    """Pages are made in threads, and each may be the first to read a secret."""
    with ThreadPoolExecutor(4) as pool:
        learning = [pool.submit(redaction.hide, [f"c4n4ry-{number}"]) for number in range(200)]
        masking = [pool.submit(redacted, "no answer") for _ in range(200)]
        told = {one.result() for one in masking}
        assert all(one.result() is None for one in learning)

    assert told == {"no answer"}


def test_a_word_is_no_secret() -> None:
    """`guest` is the broker's well-known account; masked, it would be missing from every sentence about guests."""
    redaction.hide(["guest", ""])

    assert redacted("the guest did not boot") == "the guest did not boot"


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("amqp://us:c4n4ry@127.0.0.1:5672/%2F", {"c4n4ry"}),
        ("amqps://us:c4%40n4ry@broker/vhost", {"c4%40n4ry", "c4@n4ry"}),
        ("postgresql+psycopg2://us@db/name?password=c4n4ry&sslmode=require", {"c4n4ry"}),
        ("postgresql://us:c4/n4@ry@db/name", {"c4/n4@ry"}),
        ("postgresql://us:c4n4ry@[broken/name", {"c4n4ry"}),
        ("amqp://127.0.0.1:5672/%2F", set()),
        ("postgresql+psycopg2:///ci_pipeline", set()),
        ("postgresql://us@db:5432/name", set()),
    ],
)
def test_of_an_address_its_passwords_are_secret(url: str, passwords: set[str]) -> None:
    """Also where it is malformed: the error that says so must not quote it."""
    assert set(redaction.passwords_in(url)) == passwords


@pytest.mark.parametrize("kind", [CiPipelineError, BusUnreachable, SinkUnreachable])
def test_no_error_of_ours_says_a_secret(kind: type[CiPipelineError]) -> None:
    """Whatever a library told it."""
    redaction.hide(["c4n4ry"])

    assert str(kind("no connection to amqp://us:c4n4ry@broker")) == "no connection to amqp://us:***@broker"


def test_no_reason_says_a_secret() -> None:
    """The reason of a stage that ended in somebody else's error goes into notes, messages and the database."""
    redaction.hide(["c4n4ry"])

    assert infrastructure_failure("ValueError: c4n4ry").reason == "ValueError: ***"
    assert aborted("c4n4ry").reason == "***"
