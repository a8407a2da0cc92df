"""`decide`, `waive` and `waivers`: may it pass a gate, and who says that a test need not have passed."""

import getpass
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

import typer
from rich.table import Table

from ci_pipeline import publishing, settings, store
from ci_pipeline.cli.options import AsJson, Limit
from ci_pipeline.cli.output import local_time, print_json, say, show, table
from ci_pipeline.errors import WaiverError
from ci_pipeline.gating import deciding, lookup, waivers
from ci_pipeline.gating.asked import LONGEST_COMMENT
from ci_pipeline.gating.deciding import Question
from ci_pipeline.gating.decision import PREFIX, Decision, Subject
from ci_pipeline.gating.waivers import Filter, Wish
from ci_pipeline.gating_sections import KOJI_BUILD
from ci_pipeline.wording import cut

_LINE: Final = 200


class What(StrEnum):
    """What is decided about."""

    KOJI_BUILD = KOJI_BUILD
    COMPOSE = "compose"
    IMAGE = "image"


Identifier = Annotated[str, typer.Argument(metavar="NVR", help="NVR; with --type compose a commit, image: its name.")]
Type = Annotated[What, typer.Option("--type", help="What it is.")]
Product = Annotated[
    str | None,
    typer.Option("--product", help="Product version: fedora-26 is branch f26. Default: of the branch that built it."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("decide")(decide)
    app.command("waive")(waive)
    app.command("waivers")(list_waivers)


def decide(
    identifier: Identifier,
    *,
    context: Annotated[str, typer.Option("--context", help="The gate: a decision_context of [[policies]].")],
    product: Product = None,
    subject_type: Type = What.KOJI_BUILD,
    as_json: AsJson = False,
) -> None:
    """Decide whether something may pass a gate. Exit status 0: it may; 1: it may not, or no policy is for it."""
    configured, subject = settings.current(), Subject(subject_type.value, identifier)
    with store.session() as session:
        version = product or lookup.product_of(session, configured, subject)
        decision = deciding.answer(session, configured, Question((subject,), version, (context,))).decision
    if as_json:
        print_json(decision)
    else:
        _tell(decision)
    if not decision.policies_satisfied:
        raise typer.Exit(1)


def waive(  # noqa: PLR0913 - the options of a command
    identifier: Identifier,
    testcase: Annotated[str, typer.Argument(help="Its full name, or the event alone: package.test.functional.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; everyone reads it.")],
    take_back: Annotated[bool, typer.Option("--take-back", help="End a waiver instead.")] = False,
    as_name: Annotated[
        str | None,
        typer.Option("--as", help="In whose name. It is taken as it is said, and shown with your account behind it."),
    ] = None,
    product: Product = None,
    subject_type: Type = What.KOJI_BUILD,
    as_json: AsJson = False,
) -> None:
    """Say that a test need not have passed, or that it has to after all; your account on this machine is noted.

    A run is not changed by it: one that a failed test has stopped stays stopped. Decisions are.
    """
    why = reason.strip()
    if not 0 < len(why) <= LONGEST_COMMENT or "\x00" in why:
        raise WaiverError(f"a waiver needs a reason of at most {LONGEST_COMMENT} characters")
    configured, subject = settings.current(), Subject(subject_type.value, identifier)
    with store.session() as session:
        version = product or lookup.product_of(session, configured, subject)
        wish = Wish(subject=subject, product_version=version, testcase=testcase, why=why, waived=not take_back)
        given = waivers.add(session, configured, wish, who=_who(as_name))
    publishing.publish_or_leave(configured)
    if as_json:
        print_json(given)
    else:
        did = "waived" if given.waived else "no longer waived"
        say(f"{did}: {given.testcase} of {identifier} in {version}, by {given.username}")


def list_waivers(
    identifier: Annotated[str | None, typer.Argument(metavar="[NVR]", help="Only of this one.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that later ones took the place of.")] = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List waivers, the newest first."""
    with store.session() as session:
        found, _ = waivers.page(session, Filter(subject_identifier=identifier, obsolete=everything), limit=limit)
    if as_json:
        print_json(found)
    elif found:
        show(_table(found))
    else:
        say("no waivers")


def _table(found: Iterable[waivers.Waiver]) -> Table:
    rows = [
        (
            local_time(one.timestamp),
            "yes" if one.waived else "taken back",
            one.subject_identifier,
            one.testcase,
            one.username,
            cut(one.comment, _LINE),
        )
        for one in found
    ]
    return table("", ("when", "waived", "subject", "testcase", "who", "why"), rows)


def _who(as_name: str | None) -> str:
    """Return who waives: never just a name that anyone may type, lest it read as one who has signed in."""
    account = f"{getpass.getuser()} on the command line"
    return f"{cut(as_name, _LINE)}, as {account} says" if as_name else account


def _tell(decision: Decision) -> None:
    say(f"{'satisfied' if decision.policies_satisfied else 'not satisfied'}: {decision.summary}")
    rows = [
        (
            one["testcase"],
            one["type"].removeprefix(PREFIX),
            one.get("result_id", ""),
            cut(one.get("note") or one.get("error_reason") or "", _LINE),
        )
        for _, one in decision.requirements
    ]
    if rows:
        show(table("", ("testcase", "is", "result", "why"), rows))
