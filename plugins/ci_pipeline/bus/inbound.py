"""What arrives, read once at the edge into one frozen type. Everything here is untrusted until it is a `Push`.

Accepted (the message contract, "What is accepted"): `git.receive` of dist-git, today's and the recorded one;
`pagure.git.receive`; `forgejo.push` as webhook-to-fedora-messaging wraps it; namespace, repo, rev and branch by hand;
and each of them in an envelope: fedmsg's (`topic`, `msg`) or a fedora-messaging export (`topic`, `body`).
A message is told by its shape: topics differ between installations, and by hand there may be none.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from ci_pipeline.change import Change
from ci_pipeline.errors import ChangeError

MAX_BYTES: Final = 1024 * 1024
MAX_ENVELOPES: Final = 4
MAX_DIGITS: Final = 30
MAX_TEXT: Final = 100
BRANCH_DELETED: Final = "the branch was deleted"

Fields = Mapping[str, Any]

_ZEROS: Final = "0" * 40
_HEADS: Final = "refs/heads/"
_BY_HAND: Final = frozenset({"namespace", "repo", "rev", "branch"})
# dist-git keeps forks next to the packages: .../repositories/forks/<account>/<namespace>/<repo>.git
_FORK_PATH: Final = "repositories/forks/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One push, validated.

    Attributes:
        change: What was pushed. Of a deleted branch the rev is git's forty zeros.
        format: `git.receive`, `pagure.git.receive`, `forgejo.push` or `by hand`.
        agent: Account that pushed, printable, at most 100 characters; `""` if not told.
        commit_time: When the commit was made, in UTC; None if not told.
        ignore_reason: Why this push can never be a run; `""` if it can.
        message_id: The bus's id of the message, printable, at most 100 characters; `""` if it has none.
    """

    change: Change
    format: str
    agent: str = ""
    commit_time: datetime | None = None
    ignore_reason: str = ""
    message_id: str = ""


def decode(raw: bytes) -> object:
    """Parse the bytes of a message as strict JSON.

    Raises:
        ChangeError: it is larger than 1 MiB, not UTF-8, not JSON, nested too deeply, or has a key twice, a NaN, an
            infinity or a number of more than 30 digits.
    """
    if len(raw) > MAX_BYTES:
        msg = f"the message has {len(raw)} bytes; at most {MAX_BYTES} are read"
        raise ChangeError(msg)
    # Where no such number can be, the decoder makes integers by itself: of a push most values are some.
    decoder = _WARY if _MANY_DIGITS in raw.translate(_DIGITS) else _QUICK
    try:
        return decoder.decode(raw.decode())
    except RecursionError as error:
        msg = "the message is nested too deeply"
        raise ChangeError(msg) from error
    except ValueError as error:
        msg = f"the message is not JSON: {str(error)[:MAX_TEXT]!r}"
        raise ChangeError(msg) from error


def read(topic: str, body: object, *, message_id: str = "") -> Push:
    """Read one message.

    Args:
        topic: The topic it came on; may be empty.
        body: What `decode` returned, or the parsed JSON of a message pasted whole.
        message_id: The AMQP message id. An envelope's own id is used when this is empty.

    Raises:
        ChangeError: it is none of the accepted messages, or a field of it is missing or malformed.
    """
    topic, payload, inner_id = _unwrap(topic, body)
    push = _reader(topic, payload)(payload)
    known_as = _printable(message_id or inner_id)
    return replace(push, message_id=known_as) if known_as else push


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        msg = "an object has the same key twice"
        raise ValueError(msg)
    return fields


def _bounded_int(number: str) -> int:
    digits = len(number.lstrip("-"))
    if digits > MAX_DIGITS:
        msg = f"a number has {digits} digits"
        raise ValueError(msg)
    return int(number)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        msg = f"{text[:MAX_DIGITS]} is not a number"
        raise ValueError(msg)
    return number


_STRICT: Final[Any] = {
    "object_pairs_hook": _no_key_twice,
    "parse_float": _finite,
    "parse_constant": _finite,
}
_QUICK: Final = json.JSONDecoder(**_STRICT)
_WARY: Final = json.JSONDecoder(**_STRICT, parse_int=_bounded_int)
_DIGITS: Final = bytes.maketrans(b"0123456789", b"0" * 10)
_MANY_DIGITS: Final = b"0" * (MAX_DIGITS + 1)


def _unwrap(topic: str, body: object) -> tuple[str, Fields, object]:
    """Take a message out of its envelopes. Return the innermost topic, its payload and its id."""
    message_id: object = ""
    for _ in range(MAX_ENVELOPES):
        if not isinstance(body, dict):
            msg = f"the message is not a JSON object but {type(body).__name__}"
            raise ChangeError(msg)
        inner = next((body[key] for key in ("msg", "body") if key in body and "topic" in body), None)
        if inner is None:
            return topic, body, message_id
        topic, message_id = _printable(body["topic"]), body.get("msg_id") or body.get("id") or message_id
        body = inner
    msg = f"the message is wrapped in more than {MAX_ENVELOPES - 1} envelopes"
    raise ChangeError(msg)


def _reader(topic: str, payload: Fields) -> Callable[[Fields], Push]:
    if "commit" in payload:
        return _git_receive
    if "end_commit" in payload:
        return _pagure
    if "body" in payload or {"ref", "after"} <= payload.keys():
        return _forgejo
    if payload.keys() & _BY_HAND:
        return _by_hand
    keys = ", ".join(sorted(repr(key)[:MAX_TEXT] for key in payload)[:8]) or "none"
    msg = (
        f"a message on the topic {_printable(topic)!r} with the keys {keys} is not one the pipeline reads; "
        "send a git.receive, pagure.git.receive or forgejo.push message, or namespace, repo, rev and branch"
    )
    raise ChangeError(msg)


def _git_receive(payload: Fields) -> Push:
    commit = _object(payload, "commit")
    fork = _fork_of(commit.get("path"))
    if not fork and not commit.get("namespace"):
        # fedora-messaging-git-hook leaves it out unless told otherwise.
        msg = "the commit has no namespace; set with_namespace = true in the git hook's configuration"
        raise ChangeError(msg)
    change = Change.parse(
        namespace=fork or _text(commit, "namespace"),
        repo=_text(commit, "repo"),
        rev=_text(commit, "rev"),
        branch=_text(commit, "branch"),
    )
    agent = payload.get("agent") or commit.get("agent") or commit.get("username")
    return _push(change, "git.receive", agent, _time(commit.get("date")))


def _pagure(payload: Fields) -> Push:
    repo = _object(payload, "repo")
    full_name = repo.get("fullname")
    # A fork's namespace is its parent's: only the full name, forks/<account>/<namespace>/<name>, tells.
    fork = isinstance(full_name, str) and full_name.startswith("forks/")
    change = Change.parse(
        namespace=str(full_name).rpartition("/")[0] if fork else _text(repo, "namespace"),
        repo=_text(repo, "name"),
        rev=_text(payload, "end_commit"),
        branch=_text(payload, "branch").removeprefix(_HEADS),
    )
    return _push(change, "pagure.git.receive", payload.get("agent"), forked=bool(repo.get("parent")))


def _forgejo(payload: Fields) -> Push:
    hook = _object(payload, "body") if "body" in payload else payload
    repository = _object(hook, "repository")
    ref = _text(hook, "ref")
    change = Change.parse(
        namespace=_forgejo_namespace(repository),
        repo=_text(repository, "name"),
        rev=_ZEROS if hook.get("deleted") is True else _text(hook, "after"),
        branch=ref.removeprefix(_HEADS),
    )
    pusher = _login(hook.get("pusher")) or _login(hook.get("sender")) or payload.get("agent")
    head = hook.get("head_commit")
    time = _time(head.get("timestamp")) if isinstance(head, dict) else None
    push = _push(change, "forgejo.push", pusher, time, forked=repository.get("fork") is True)
    return push if ref.startswith(_HEADS) else replace(push, ignore_reason=f"not a branch: {ref}")


def _by_hand(payload: Fields) -> Push:
    unknown = sorted(repr(key)[:MAX_TEXT] for key in payload.keys() - _BY_HAND - {"agent"})
    if unknown:
        msg = f"a change by hand has namespace, repo, rev and branch, and not {unknown[0]}"
        raise ChangeError(msg)
    change = Change.parse(**{key: _text(payload, key) for key in sorted(_BY_HAND)})
    return _push(change, "by hand", payload.get("agent"))


def _push(
    change: Change, message_format: str, agent: object, commit_time: datetime | None = None, *, forked: bool = False
) -> Push:
    return Push(
        change=change,
        format=message_format,
        agent=_printable(agent),
        commit_time=commit_time,
        ignore_reason=_never(change, forked=forked),
    )


def _never(change: Change, *, forked: bool) -> str:
    """Return why a change can never be a run, or nothing."""
    if forked or change.namespace.split("/")[0] == "forks":
        return f"a fork, not the package: {change.namespace}"
    return BRANCH_DELETED if change.rev == _ZEROS else ""


def _fork_of(path: object) -> str:
    """Return the namespace of a fork, `forks/alice/rpms`, by the path of its repository; `""` if it is none."""
    _, found, rest = path.partition(_FORK_PATH) if isinstance(path, str) else ("", "", "")
    return f"forks/{rest.rstrip('/').rpartition('/')[0]}".rstrip("/") if found else ""


def _forgejo_namespace(repository: Fields) -> str:
    """Return the owner's login, or what stands before the name where a relay has cut the owner out."""
    if "owner" in repository:
        return _text(_object(repository, "owner"), "login")
    return _text(repository, "full_name").rpartition("/")[0]


def _object(fields: Fields, key: str) -> Fields:
    value = fields.get(key)
    if not isinstance(value, dict):
        msg = f"the message's {key} is not a JSON object"
        raise ChangeError(msg)
    return value


def _text(fields: Fields, key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        msg = f"the message has no {key}" if value is None else f"the message's {key} is not a string"
        raise ChangeError(msg)
    return value


def _login(account: object) -> object:
    return account.get("login") if isinstance(account, dict) else None


def _printable(value: object) -> str:
    """Return what may be shown and stored of a text that decides nothing: no control characters, bounded."""
    if not isinstance(value, str):
        return ""
    text = value[:MAX_TEXT]
    return text if text.isprintable() else "".join(character for character in text if character.isprintable())


def _time(value: object) -> datetime | None:
    """Return a commit's time in UTC. A clock that was wrong does not make a push unreadable: then None."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return time.astimezone(UTC) if time and time.tzinfo else None
    except (ValueError, OverflowError):
        return None
