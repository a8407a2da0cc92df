"""Bodies from facts: the recorded messages, rebuilt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline.bus import events, schemas
from ci_pipeline.errors import MessageError
from ci_pipeline.outcome import Status
from tests.bus import recorded

RECORDED = recorded.published()
IMAGE = RECORDED["image.complete"]
URLS = st.text(st.characters(codec="utf-8"), max_size=40)


def test_an_unknown_event_has_no_body() -> None:
    """The text says which events there are."""
    with pytest.raises(MessageError, match=r"no message for the event 'compose\.queued'; one of: "):
        events.body("compose.queued", recorded.facts(IMAGE))


def test_a_skipped_stage_has_no_message() -> None:
    """SKIPPED is not a status of the bus: such a body does not become a message."""
    body = events.body("image.complete", recorded.facts(IMAGE, status=Status.SKIPPED))

    with pytest.raises(MessageError, match="status: 'SKIPPED' is not one of"):
        schemas.make("image.complete", recorded.PREFIX, body)


@pytest.mark.parametrize(("event", "body"), RECORDED.items())
def test_a_recorded_message_is_rebuilt_from_its_facts(event: str, body: dict[str, str]) -> None:
    """Equal, key by key and value by value."""
    assert events.body(event, recorded.facts(body)) == body


@pytest.mark.parametrize(
    ("event", "unknown"),
    [
        ("package.running", {"nvr": "", "original_spec_nvr": "", "compose_rev": ""}),
        ("package.complete", {"compose_rev": ""}),
        ("compose.running", {"compose_rev": "''"}),
        ("image.running", {"image_name": "''", "image_url": "''"}),
    ],
)
def test_a_message_says_nothing_that_its_stage_has_still_to_make(event: str, unknown: dict[str, str]) -> None:
    """Even when a stage is tried again and the first try's results are known."""
    body = events.body(event, recorded.facts(IMAGE))

    assert {key: body[key] for key in unknown} == unknown
    schemas.check(event, recorded.PREFIX, body)


@pytest.mark.parametrize(
    ("event", "compose_rev"), [("complete", ""), ("package.complete", ""), ("compose.complete", "''")]
)
def test_a_failed_run_has_every_key(event: str, compose_rev: str) -> None:
    """What was never made is written as not known, in the way of the recorded messages."""
    known = recorded.facts(RECORDED["package.queued"], status=Status.FAILURE, original_spec_nvr="mesa-17.1.5-1.fc26.2")
    body = events.body(event, known)

    assert body["compose_rev"] == compose_rev
    assert (body["nvr"], body["original_spec_nvr"]) == ("", "mesa-17.1.5-1.fc26.2")
    schemas.check(event, recorded.PREFIX, body)


@given(
    event=st.sampled_from(sorted(schemas.MESSAGES)),
    status=st.sampled_from([status for status in Status if status is not Status.SKIPPED]),
    compose_rev=st.one_of(st.just(""), st.text("0123456789abcdef", min_size=64, max_size=64)),
    number=st.integers(min_value=0),
    texts=st.lists(URLS, min_size=7, max_size=7),
)
def test_whatever_is_known_makes_a_valid_message(
    event: str, status: Status, compose_rev: str, number: int, texts: list[str]
) -> None:
    """Every event, at every moment of a run."""
    names = ("nvr", "original_spec_nvr", "package_url", "compose_url", "image_name", "image_url", "build_url")
    known = recorded.facts(
        IMAGE, status=status, compose_rev=compose_rev, build_id=number, **dict(zip(names, texts, strict=True))
    )

    schemas.check(event, recorded.PREFIX, events.body(event, known))
