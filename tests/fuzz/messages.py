"""Messages of the bus, hostile, broken, and good ones in between, as Hypothesis strategies."""

import copy
import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hypothesis import strategies as st

from ci_pipeline.change import Change
from tests.bus.raw import Properties, nested, short, table
from tests.fuzz.hostile import JSON, TEXTS, VALUES, dumped
from tests.makers import PUSHED, change
from tests.store.ledger_messages import PUSHES

Path = tuple[str | int, ...]

# Of places there are few, that they meet; of revisions many, that most are new.
_REVS: Final = st.integers(0, 20_000).map(lambda number: hashlib.sha1(b"%d" % number).hexdigest())  # noqa: S324 - git's
_REPOS: Final = st.sampled_from(["greeter", "greeter", "hostinfo", "polari"])
_BRANCHES: Final = st.sampled_from(["f26", "f26", "rawhide", "f25"])
CHANGES: Final = st.builds(lambda repo, rev, branch: change(repo, rev=rev, branch=branch), _REPOS, _REVS, _BRANCHES)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is published. `change` is what a good one is about; of any other it is None."""

    raw: bytes
    change: Change | None = None
    topic: bytes = PUSHED.encode()
    properties: Properties = field(default_factory=Properties)


class Batch:
    """Messages that are sent together. Hypothesis prints every example: not all of these."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages

    def __repr__(self) -> str:
        """Return how many they are."""
        return f"a batch of {len(self.messages)} messages"


@st.composite
def _good(draw: st.DrawFn) -> Message:
    """Draw a push in one of the formats, of a revision of its own."""
    sent, wanted = draw(PUSHES), draw(CHANGES)
    assert sent.change is not None
    old = {"rev": sent.change.rev, "repo": sent.change.repo, "branch": sent.change.branch}
    raw = sent.received.raw.decode()
    return Message(raw.encode()) if old["rev"] == "0" * 40 else Message(_about(json.loads(raw), old, wanted), wanted)


def _about(body: Any, old: dict[str, str], wanted: Change) -> bytes:
    """Return a message with another change in the place of its own."""
    branch = "main" if wanted.branch == "rawhide" else wanted.branch
    for path in list(_paths(body)):
        place, key = _place(body, path)
        if not isinstance(place[key], str):
            continue
        if place[key] == old["rev"]:
            place[key] = wanted.rev
        elif key in {"repo", "name"} and place[key] == old["repo"]:
            place[key] = wanted.repo
        elif key in {"branch", "ref"}:
            place[key] = f"refs/heads/{branch}" if key == "ref" else branch
    return json.dumps(body).encode()


@st.composite
def _mutated(draw: st.DrawFn) -> Message:
    """Draw a good message in which some fields are not what they were, or not there."""
    body = json.loads(draw(_good()).raw)
    for _ in range(draw(st.integers(1, 3))):
        paths = list(_paths(body))
        if not paths:
            break
        place, key = _place(body, draw(st.sampled_from(paths)))
        how = draw(st.sampled_from(["replaced", "replaced", "replaced", "extended", "removed", "renamed"]))
        if how == "replaced":
            place[key] = copy.deepcopy(draw(VALUES))
        elif how == "extended" and isinstance(place[key], str):
            place[key] += draw(TEXTS)
        elif how == "renamed" and isinstance(place, dict):
            place[draw(TEXTS)] = place.pop(key)
        else:
            del place[key]
    return Message(dumped(body, as_ascii=draw(st.booleans())))


@st.composite
def _damaged(draw: st.DrawFn) -> Message:
    """Draw a good message of which bytes are lost, changed or said twice."""
    raw = bytearray(draw(_good()).raw)
    start = draw(st.integers(0, len(raw)))
    end = draw(st.integers(start, min(start + 20, len(raw))))
    raw[start:end] = draw(st.binary(max_size=8) | st.just(bytes(raw[start:end]) * 2))
    return Message(bytes(raw))


@st.composite
def _wrapped(draw: st.DrawFn) -> Message:
    """Draw a message in envelopes: some too many, or with hostile words on them."""
    body = json.loads(draw(_good()).raw)
    for _ in range(draw(st.integers(1, 5))):
        body = {"topic": draw(VALUES), draw(st.sampled_from(["msg", "body"])): body, "id": draw(VALUES)}
    return Message(dumped(body, as_ascii=True))


def _paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Yield the path of every field of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*above, key)
        if len(above) < 4:
            yield from _paths(inner, (*above, key))


def _place(body: Any, path: Path) -> tuple[Any, Any]:
    for key in path[:-1]:
        body = body[key]
    return body, path[-1]


BYTES: Final = st.binary(max_size=60).map(Message)
ANY_JSON: Final = st.builds(lambda value, as_ascii: Message(dumped(value, as_ascii=as_ascii)), JSON, st.booleans())
MESSAGES: Final = st.one_of(_good(), _mutated(), _mutated(), _mutated(), _damaged(), _wrapped(), ANY_JSON, BYTES)

# What the broker passes on as it came. It refuses a header of no type or that is NaN, modes of delivery, times to live.
_SHORT: Final = st.binary(max_size=20).map(short) | st.text(max_size=10).map(lambda text: short(text.encode()[:255]))
_FIELD: Final = st.one_of(
    st.sampled_from([b"V", b"t\x01", b"T" + struct.pack(">Q", 2**63), b"d" + struct.pack(">d", 1e308)]),
    st.binary(max_size=12).map(lambda text: b"S" + table(text)),
    st.binary(min_size=8, max_size=8).map(lambda number: b"l" + number),
)
_NAMED: Final = st.sampled_from([b"fedora_messaging_schema", b"fedora_messaging_severity", b"x-death", b"\xff", b""])
_HEADER: Final = st.builds(lambda name, value: short(name) + value, _NAMED, _FIELD)
_HEADERS: Final = st.one_of(
    st.lists(_HEADER, max_size=3).map(lambda headers: table(b"".join(headers))),
    st.sampled_from([0, 3, 100, 2000]).map(nested),
)
PROPERTIES: Final = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("content_type", "content_encoding", "correlation_id", "reply_to", "type", "app_id"), _SHORT),
        "message_id": _SHORT | st.sampled_from([short(b"m-1"), short(b"m" * 255)]),
        "headers": _HEADERS,
        "delivery_mode": st.sampled_from([b"\x01", b"\x02"]),
        "priority": st.binary(min_size=1, max_size=1),
        "timestamp": st.binary(min_size=8, max_size=8),
    },
).map(Properties)
# `*.*.*.git.receive` is what is listened to; between the dots may be anything.
_WORD: Final = st.binary(min_size=1, max_size=12).map(lambda word: word.replace(b".", b"-")) | st.sampled_from(
    [b"\x1b[31m", b"a\nb"]
)
TOPICS: Final = st.just(PUSHED.encode()) | st.lists(_WORD, min_size=3, max_size=3).map(
    lambda words: b".".join([*words, b"git", b"receive"])
)
AT_A_TIME: Final = 50


def batches(*, with_properties: bool) -> st.SearchStrategy[Batch]:
    """Return batches of 50 messages, each on a topic that is listened to, with properties or without any."""
    properties = PROPERTIES if with_properties else st.just(Properties())
    published = st.builds(_published, MESSAGES, TOPICS, properties)
    return st.lists(published, min_size=AT_A_TIME, max_size=AT_A_TIME).map(Batch)


def _published(message: Message, topic: bytes, properties: Properties) -> Message:
    return replace(message, topic=topic, properties=properties)
