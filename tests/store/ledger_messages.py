"""What comes over the bus in the ledger's state machine, as Hypothesis strategies."""

import json
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from ci_pipeline.change import Change
from tests.bus.recorded import GIT_RECEIVE, envelope
from tests.makers import change, pushed, received
from tests.store.ledger_model import DELETED, Sent

RECORDED: Final = envelope(GIT_RECEIVE)


def _git_branch(wanted: Change) -> str:
    return "main" if wanted.branch == "rawhide" else wanted.branch


def _todays(wanted: Change) -> dict[str, Any]:
    return json.loads(pushed(wanted.repo, rev=wanted.rev, branch=_git_branch(wanted)).raw)


def _by_hand(wanted: Change) -> dict[str, Any]:
    return {"namespace": "rpms", "repo": wanted.repo, "rev": wanted.rev, "branch": wanted.branch}


def _pagure(wanted: Change) -> dict[str, Any]:
    repo = {"namespace": "rpms", "name": wanted.repo, "fullname": f"rpms/{wanted.repo}", "parent": None}
    return {"repo": repo, "end_commit": wanted.rev, "branch": _git_branch(wanted), "agent": "packager"}


def _forgejo(wanted: Change) -> dict[str, Any]:
    repository = {"name": wanted.repo, "owner": {"login": "rpms"}, "fork": False}
    return {"body": {"ref": f"refs/heads/{_git_branch(wanted)}", "after": wanted.rev, "repository": repository}}


def _recorded(wanted: Change) -> dict[str, Any]:
    fields = {"repo": wanted.repo, "rev": wanted.rev, "branch": wanted.branch, "path": ""}
    return {**RECORDED, "msg": {"commit": {**RECORDED["msg"]["commit"], **fields}}}


def _in_a_format(wanted: Change, written: Callable[[Change], dict[str, Any]]) -> Sent:
    return Sent(received(written(wanted)), wanted)


# Most of them are of one package on one branch: that is where changes meet.
CHANGES: Final = st.builds(
    change,
    st.sampled_from(["greeter"] * 4 + ["hostinfo", "polari"]),
    branch=st.sampled_from(["f26"] * 4 + ["rawhide", "f25"]),
    rev=st.sampled_from([*(str(digit) * 40 for digit in range(1, 7)), DELETED]),
)
PUSHES: Final = st.builds(_in_a_format, CHANGES, st.sampled_from([_todays, _by_hand, _pagure, _forgejo, _recorded]))
UNREADABLE: Final = st.sampled_from([b"", b"{", b"[]", b'{"commit": 7}', b'{"repo": "\x00"}']) | st.binary(max_size=8)
MESSAGES: Final = st.one_of(*[PUSHES] * 5, UNREADABLE.map(lambda raw: Sent(received(raw), None)))
BATCHES: Final = st.lists(MESSAGES, min_size=1, max_size=3)
