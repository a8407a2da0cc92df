"""Messages and confs whose names lead elsewhere: none becomes a run, and what cannot be read is kept for a look."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import select

from ci_pipeline import revisions, store
from ci_pipeline.conf import Conf
from ci_pipeline.errors import ChangeError
from ci_pipeline.intake import Intake
from ci_pipeline.store.tables import Inbound, Run
from tests.makers import REV, pushed, received

if TYPE_CHECKING:
    from ci_pipeline.settings import Settings

# What names become: folders, refs, arguments of tools, lines of logs, words of a shell.
NAMES: Final = (
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "rpms/../../x",
    ".git",
    "-oProxyCommand=touch x",
    "--upload-pack=touch x",
    "two\nlines",
    "nothing\0more",
    "$(touch x)",
    "`touch x`",
    "x; touch x",
    "x y",
    "\u202egninnur",
    "\ud800",
    "\x1b[31mred",
    "<script>alert(1)</script>",
    "{{ lookup('pipe', 'touch x') }}",
    "x" * 300,
    "",
)
REVS: Final = ("HEAD", "f26", "--all", REV[:39], REV.upper(), f"{REV}^", f"../{REV}", "0" * 41, f"{REV}\n")
FIELDS: Final = {"namespace": NAMES, "repo": NAMES, "branch": NAMES, "rev": REVS}
# Where each message has them.
MESSAGES: Final[dict[str, tuple[dict[str, Any], dict[str, tuple[str, ...]]]]] = {
    "git.receive": (
        {"commit": {"namespace": "rpms", "repo": "greeter", "rev": REV, "branch": "f26"}},
        {name: ("commit", name) for name in FIELDS},
    ),
    "pagure.git.receive": (
        {"repo": {"namespace": "rpms", "name": "greeter"}, "end_commit": REV, "branch": "f26"},
        {"namespace": ("repo", "namespace"), "repo": ("repo", "name"), "branch": ("branch",), "rev": ("end_commit",)},
    ),
    "forgejo.push": (
        {"repository": {"name": "greeter", "owner": {"login": "rpms"}}, "ref": "refs/heads/f26", "after": REV},
        {
            "namespace": ("repository", "owner", "login"),
            "repo": ("repository", "name"),
            "branch": ("ref",),
            "rev": ("after",),
        },
    ),
    "by hand": (
        {"namespace": "rpms", "repo": "greeter", "rev": REV, "branch": "f26"},
        {name: (name,) for name in FIELDS},
    ),
}


def messages() -> list[dict[str, Any]]:
    """Return each message with each field replaced by each value."""
    found = []
    for (message, places), (name, values) in itertools.product(MESSAGES.values(), FIELDS.items()):
        for value in values:
            one = copy.deepcopy(message)
            *path, last = places[name]
            inner = one
            for key in path:
                inner = inner[key]
            inner[last] = value
            found.append(one)
    return found


@pytest.mark.usefixtures("database")
def test_no_message_leads_anywhere(current: Settings) -> None:
    """The next one is taken up."""
    hostile = [received(one, message_id=f"m-{number}") for number, one in enumerate(messages())]
    Intake(current, trigger_run_id="x").record([*hostile, pushed()])
    with store.session() as session:
        rows = session.execute(select(Inbound.state, Inbound.reason).order_by(Inbound.id)).all()
        runs = session.scalars(select(Run)).all()

    assert len(rows) == len(hostile) + 1
    assert {state for state, _ in rows[:-1]} <= {"dead", "ignored"}
    assert [reason for _, reason in rows[:-1] if not reason or not reason.isprintable()] == []
    assert (rows[-1].state, [run.repo for run in runs]) == ("queued", ["greeter"])


@pytest.mark.parametrize("name", ["namespace", "repo", "rev"])
def test_no_conf_leads_anywhere(current: Settings, name: str) -> None:
    """A person who triggers a run is told which field it is."""
    good = {"namespace": "rpms", "repo": "greeter", "rev": REV}
    refused = []
    for value in NAMES[:-1]:
        with pytest.raises(ChangeError) as caught:
            revisions.resolve(current, Conf.parse(good | {name: value}).named(current, branch="f26"))
        refused.append(str(caught.value))

    assert [sentence for sentence in refused if name not in sentence or not sentence.isprintable()] == []
    assert revisions.resolve(current, Conf.parse(good).named(current, branch="f26")).rev == REV
