"""What arrives: every accepted message, and whatever else the world sends."""

import copy
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ci_pipeline.bus import inbound
from ci_pipeline.change import Change
from ci_pipeline.errors import ChangeError
from tests.bus import recorded

REV = "35fdde92a0292def6a99acd3c237272789d020b2"
ZEROS = "0" * 40
MESA = Change(namespace="rpms", repo="mesa", rev=REV, branch="f26")
SEED = recorded.envelope(recorded.GIT_RECEIVE)

# Today's body of Fedora's git hook (fedora-messaging-git-hook-messages, CommitV1).
GIT_RECEIVE: dict[str, Any] = {
    "agent": "alice",
    "commit": {
        "name": "Alice",
        "email": "alice@example.com",
        "username": "alice",
        "summary": "Update",
        "message": "Update\n",
        "stats": {"files": {}, "total": {}},
        "rev": REV,
        "path": "/srv/git/repositories/rpms/mesa.git/",
        "repo": "mesa",
        "namespace": "rpms",
        "branch": "f26",
        "patch": "",
        "date": "2017-10-04T14:00:00+02:00",
        "url": None,
        "seen": False,
    },
}
PAGURE: dict[str, Any] = {
    "agent": "alice",
    "forced": False,
    "repo": {"name": "mesa", "namespace": "rpms", "fullname": "rpms/mesa", "parent": None},
    "old_commit": ZEROS,
    "branch": "f26",
    "authors": [{"name": "alice", "fullname": "Alice"}],
    "total_commits": 2,
    "start_commit": "1" * 40,
    "end_commit": REV,
}
FORGEJO: dict[str, Any] = {
    "agent": None,
    "body": {
        "ref": "refs/heads/f26",
        "before": "1" * 40,
        "after": REV,
        "head_commit": {"id": REV, "timestamp": "2017-10-04T12:00:00Z"},
        "repository": {"name": "mesa", "full_name": "rpms/mesa", "fork": False, "owner": {"login": "rpms"}},
        "pusher": {"login": "alice"},
        "sender": {"login": "alice"},
    },
    "headers": {"x-forgejo-event": "push", "x-forgejo-delivery": "3a7eee03"},
}
BY_HAND: dict[str, Any] = {"namespace": "rpms", "repo": "mesa", "rev": REV, "branch": "f26"}
ACCEPTED = {
    "git.receive": GIT_RECEIVE,
    "pagure.git.receive": PAGURE,
    "forgejo.push": FORGEJO,
    "by hand": BY_HAND,
}


def _with(message: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Return a copy in which `a__b="x"` has set `message["a"]["b"]`."""
    changed = copy.deepcopy(message)
    for path, value in values.items():
        *parents, key = path.split("__")
        place = changed
        for parent in parents:
            place = place[parent]
        place[key] = value
    return changed


def _without(message: dict[str, Any], *path: str) -> dict[str, Any]:
    changed = copy.deepcopy(message)
    place = changed
    for parent in path[:-1]:
        place = place[parent]
    del place[path[-1]]
    return changed


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b'{"rev": NaN}', "NaN is not a number"),
        (b'{"rev": -Infinity}', "-Infinity is not a number"),
        (b'{"rev": 1e999}', "1e999 is not a number"),
        (b'{"rev": ' + b"9" * 5000 + b"}", "a number has 5000 digits"),
        (b'{"rev": "a", "rev": "b"}', "the same key twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'"' + b"a" * inbound.MAX_BYTES + b'"', "has 1048578 bytes; at most 1048576 are read"),
    ],
)
def test_bytes_that_are_no_strict_json_are_a_clear_error(raw: bytes, reason: str) -> None:
    """Each hostile form is refused with what is wrong with it, and within bounds."""
    with pytest.raises(ChangeError, match=reason) as caught:
        inbound.decode(raw)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "is not a JSON object but NoneType"),
        ([BY_HAND], "is not a JSON object but list"),
        ({}, "with the keys none is not one the pipeline reads; send a git.receive"),
        ({"hello": 1}, "on the topic 'a.topic' with the keys 'hello' is not one the pipeline reads"),
        (_without(BY_HAND, "rev"), "the message has no rev"),
        (_with(BY_HAND, rev="35fdde9"), "the change's rev is not valid: '35fdde9'"),
        (_with(BY_HAND, rev=7), "the message's rev is not a string"),
        (_with(BY_HAND, repo="../../etc"), "the change's repo is not valid"),
        (_with(BY_HAND, repo="-rf"), "the change's repo is not valid"),
        (_with(BY_HAND, branch="f26; reboot"), "the change's branch is not valid"),
        (_with(BY_HAND, namespace="rpms\n"), "the change's namespace is not valid"),
        (_with(BY_HAND, repo="\ud800"), "the change's repo is not valid"),
        (_with(BY_HAND, note="x"), "a change by hand has namespace, repo, rev and branch, and not 'note'"),
        (_with(GIT_RECEIVE, commit=3), "the message's commit is not a JSON object"),
        (_with(GIT_RECEIVE, commit__namespace=None), "set with_namespace = true in the git hook"),
        (_without(GIT_RECEIVE, "commit", "branch"), "the message has no branch"),
        (_with(PAGURE, repo="mesa"), "the message's repo is not a JSON object"),
        (_with(PAGURE, end_commit=None), "the message has no end_commit"),
        (_with(FORGEJO, body__repository__owner={}), "the message has no login"),
        (_with(FORGEJO, body={}), "the message's repository is not a JSON object"),
        (_without(_without(FORGEJO, "body", "repository", "owner"), "body", "repository", "full_name"), "no full_name"),
    ],
)
def test_a_malformed_message_is_a_clear_error(body: object, reason: str) -> None:
    """The text names the field, so that it can stand as the reason of a dead letter."""
    with pytest.raises(ChangeError, match=reason):
        inbound.read("a.topic", body)


def test_an_endless_envelope_is_refused() -> None:
    """Envelopes are opened a few times, not for ever."""
    body: object = BY_HAND
    for _ in range(50):
        body = {"topic": "a", "msg": body}

    with pytest.raises(ChangeError, match="more than 3 envelopes"):
        inbound.read("a", body)


@pytest.mark.parametrize("body", recorded.published().values(), ids=recorded.published())
def test_our_own_messages_are_no_pushes(body: dict[str, str]) -> None:
    """A queue bound too widely must not make the pipeline feed itself."""
    with pytest.raises(ChangeError, match="a change by hand has"):
        inbound.read(body["topic"], body)


@pytest.mark.parametrize(
    ("body", "namespace"),
    [
        (_with(GIT_RECEIVE, commit__path="/srv/git/repositories/forks/alice/rpms/mesa.git"), "forks/alice/rpms"),
        (
            _with(GIT_RECEIVE, commit__path="/srv/git/repositories/forks/alice/rpms/mesa.git/", commit__namespace=None),
            "forks/alice/rpms",
        ),
        (_with(GIT_RECEIVE, commit__namespace="forks/alice/rpms"), "forks/alice/rpms"),
        (_with(PAGURE, repo__fullname="forks/alice/rpms/mesa", repo__parent={}), "forks/alice/rpms"),
        (_with(PAGURE, repo__parent={"name": "mesa"}), "rpms"),
        (_with(FORGEJO, body__repository__owner__login="alice", body__repository__fork=True), "alice"),
        (_with(BY_HAND, namespace="forks/alice/rpms"), "forks/alice/rpms"),
    ],
)
def test_a_fork_is_never_the_package(body: dict[str, Any], namespace: str) -> None:
    """Whatever a fork's messages look like: building it would build a stranger's code."""
    push = inbound.read("a.topic", body)

    assert push.ignore_reason == f"a fork, not the package: {namespace}"
    assert push.change == MESA.model_copy(update={"namespace": namespace})


@pytest.mark.parametrize(
    "body",
    [
        _with(FORGEJO, body__after=ZEROS, body__head_commit=None),
        _with(FORGEJO, body__deleted=True),
        _with(PAGURE, end_commit=ZEROS),
    ],
)
def test_a_deleted_branch_is_ignored(body: dict[str, Any]) -> None:
    """There is nothing to build; the rev is git's zeros."""
    push = inbound.read("a.topic", body)

    assert push.ignore_reason == "the branch was deleted"
    assert push.change.rev == ZEROS


@pytest.mark.parametrize("ref", ["refs/tags/v1", "refs/notes/commits", "f26"])
def test_what_is_pushed_beside_the_branches_is_ignored(ref: str) -> None:
    """A tag is no change of a branch, even if it is called like one."""
    assert inbound.read("", _with(FORGEJO, body__ref=ref)).ignore_reason == f"not a branch: {ref}"


def test_the_recorded_message_is_read_in_its_envelope() -> None:
    """As the archive returns it, with the archive's id."""
    push = inbound.read(recorded.GIT_RECEIVE, SEED)

    assert push == inbound.Push(
        change=Change(
            namespace="rpms", repo="php-simplepie", rev="81e09b9c83e8550b54a64c7bdb4e5d7b534df058", branch="f24"
        ),
        format="git.receive",
        agent="trasher",
        message_id=SEED["msg_id"],
    )


@pytest.mark.parametrize(("message_format", "body"), ACCEPTED.items())
def test_every_accepted_message_is_one_push(message_format: str, body: dict[str, Any]) -> None:
    """The same change comes out of each."""
    push = inbound.read("", body, message_id="m-1")

    assert (push.change, push.format, push.ignore_reason, push.message_id) == (MESA, message_format, "", "m-1")
    assert push.agent == ("" if message_format == "by hand" else "alice")
    timed = message_format in {"git.receive", "forgejo.push"}
    assert push.commit_time == (datetime(2017, 10, 4, 12, tzinfo=UTC) if timed else None)


@pytest.mark.parametrize(("message_format", "body"), ACCEPTED.items())
@pytest.mark.parametrize("key", ["msg", "body"])
def test_every_accepted_message_may_come_in_an_envelope(key: str, message_format: str, body: dict[str, Any]) -> None:
    """fedmsg's, an export of fedora-messaging, and one in the other; the innermost id counts, the bus's wins."""
    wrapped = {"topic": "org.example.push", "id": "e-1", "headers": {}, key: body}
    twice = {"topic": "org.example.pasted", "msg_id": "e-2", "msg": wrapped}

    assert inbound.read("", wrapped).message_id == "e-1"
    assert inbound.read("", twice).message_id == "e-1"
    assert inbound.read("", twice, message_id="m-1").message_id == "m-1"
    assert {inbound.read("", form).change for form in (wrapped, twice)} == {MESA}
    assert inbound.read("", twice).format == message_format


def test_a_bare_webhook_and_one_without_owner_are_read() -> None:
    """The payload pasted from Forgejo's page, and a relay that has cut the owner out."""
    assert inbound.read("", FORGEJO["body"]).change == MESA
    assert inbound.read("", _without(FORGEJO, "body", "repository", "owner")).change == MESA


@pytest.mark.parametrize("branch", ["master", "main", "rawhide"])
def test_rawhide_has_one_name(branch: str) -> None:
    """However dist-git calls it."""
    bodies = (
        _with(BY_HAND, branch=branch),
        _with(FORGEJO, body__ref=f"refs/heads/{branch}"),
        _with(PAGURE, branch=branch),
        _with(GIT_RECEIVE, commit__branch=branch),
    )

    assert {inbound.read("", body).change.branch for body in bodies} == {"rawhide"}


@pytest.mark.parametrize(
    ("agent", "kept"), [("x" * 5000, "x" * 100), ("a\x00b\n\ud800", "ab"), (7, ""), (None, ""), ({"a": 1}, "")]
)
def test_who_pushed_is_bounded_and_printable(agent: object, kept: str) -> None:
    """It decides nothing, so a strange one is no reason to lose a push; but it is shown and stored."""
    assert inbound.read("", _with(PAGURE, agent=agent)).agent == kept


@pytest.mark.parametrize("date", ["yesterday", 7, None, "2017-10-04T12:00:00", "0001-01-01T00:00:00+14:00", "\ud800"])
def test_a_wrong_clock_does_not_lose_a_push(date: object) -> None:
    """A commit's time that is none, has no zone or is out of range is not told."""
    assert inbound.read("", _with(GIT_RECEIVE, commit__date=date)).commit_time is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PATHS = [
    (name, path)
    for name, message in ACCEPTED.items()
    for path in [(key,) for key in message]
    + [(key, inner) for key, value in message.items() if isinstance(value, dict) for inner in value]
    + [("body", "repository", "owner"), ("body", "repository", "name")] * (name == "forgejo.push")
]


@settings(max_examples=300)
@given(topic=st.text(max_size=30), place=st.sampled_from(PATHS), value=JSON | st.sampled_from([REV, "\ud800", "\x00"]))
def test_a_broken_field_is_a_push_or_a_clear_error(topic: str, place: tuple[str, tuple[str, ...]], value: Any) -> None:
    """Never another exception, whatever a field holds."""
    name, path = place
    body = _with(ACCEPTED[name], **{"__".join(path): value})

    _push_or_error(topic, body)


@settings(max_examples=300)
@given(topic=st.text(), body=JSON)
@example(topic="", body={"topic": {}, "msg": {"topic": 1, "body": {"body": {"ref": "refs/heads/f26"}}}})
def test_any_json_is_a_push_or_a_clear_error(topic: str, body: Any) -> None:
    """Never another exception, whatever the message is."""
    _push_or_error(topic, body)


@settings(max_examples=300)
@given(raw=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_push_or_a_clear_error(raw: bytes) -> None:
    """The whole way from the wire."""
    try:
        body = inbound.decode(raw)
    except ChangeError:
        return
    _push_or_error("a.topic", body)


@pytest.mark.parametrize("number", [10**29, -(10**29)])
def test_the_sign_of_a_number_is_no_digit(number: int) -> None:
    """30 digits are the most that is read, on either side of zero."""
    assert inbound.decode(json.dumps([number]).encode()) == [number]

    with pytest.raises(ChangeError, match="31 digits"):
        inbound.decode(json.dumps([number * 10]).encode())


@given(name=st.sampled_from(sorted(ACCEPTED)), data=st.data())
def test_what_can_be_decoded_is_what_was_encoded(name: str, data: st.DataObject) -> None:
    """A round trip loses nothing: bodies of accepted messages with any finite JSON beside."""
    extra = data.draw(JSON.filter(_round_trips))
    body = {**ACCEPTED[name], "extra": extra}

    assert inbound.decode(json.dumps(body).encode()) == body


def _round_trips(value: object) -> bool:
    text = json.dumps(value)
    too_long = re.search(r"\d{31}", text)  # refused, with a reason
    return not too_long and "NaN" not in text and "Infinity" not in text and json.loads(text) == value


def _push_or_error(topic: str, body: object) -> None:
    try:
        push = inbound.read(topic, body)
    except ChangeError as error:
        reason = str(error)
    else:
        reason = push.ignore_reason
        assert isinstance(push, inbound.Push)
        assert push.agent.isprintable()
        assert push.message_id.isprintable()
    assert reason.isprintable()
    assert len(reason) < 2000
