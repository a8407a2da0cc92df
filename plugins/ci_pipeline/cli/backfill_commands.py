"""`revisions` and `backfill`: what is known of the past, and running it."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from ci_pipeline import history, settings, store
from ci_pipeline.backfill import Again, Choose, Entry, backfill
from ci_pipeline.cli.options import AsJson, Branch, Limit, NoReuse
from ci_pipeline.cli.output import complain, local_time, print_json, say, show, table
from ci_pipeline.conf import AS_CONFIGURED, Conf
from ci_pipeline.store import revisions
from ci_pipeline.store.revisions import Place
from ci_pipeline.store.tables import Revision

_MOST = 1000

Repo = Annotated[str | None, typer.Option("--repo", metavar="PACKAGE", help="Only of this package.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backfill")(backfill_package)
    known = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The index of known revisions.")
    for name, command in (("import", import_revisions), ("list", list_revisions)):
        known.command(name)(command)
    app.add_typer(known, name="revisions")


def import_revisions(
    *,
    repo: Repo = None,
    branch: Branch = None,
    since: Annotated[
        datetime | None,
        typer.Option("--since", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Nothing older, in UTC."),
    ] = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
) -> None:
    """Take up the history of the watched packages from dist-git. Exit status 1 if one could not be looked at."""
    configured = settings.current()
    if branch not in {None, *configured.branches}:
        msg = f"has no pipeline; there are: {', '.join(configured.branches)}"
        raise typer.BadParameter(msg, param_hint="--branch")
    if repo not in {None, *configured.packages.monitored}:
        msg = "is not watched (packages.monitored)"
        raise typer.BadParameter(msg, param_hint="--repo")
    from_time = since and since.replace(tzinfo=UTC)
    done = list(history.bring_in(configured, repo=repo, branch=branch, since=from_time, limit=limit))
    if as_json:
        print_json(done)
    else:
        _say_imported(done)
    if any(one.problem for one in done):
        raise typer.Exit(1)


def _say_imported(done: list[history.Imported]) -> None:
    for one in done:
        if one.problem:
            complain(one.problem)
        else:
            say(f"{one.package} {one.branch}: {one.new} new of {one.found}")
    say(f"{sum(one.new for one in done)} revisions taken up")


def list_revisions(*, repo: Repo = None, branch: Branch = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List known revisions, the newest first."""
    with store.session() as session:
        found = revisions.listed(session, branch=branch, repo=repo, limit=limit)
    if as_json:
        fields = ("namespace", "repo", "rev", "branch", "committed_at")
        print_json([{name: getattr(row, name) for name in fields} for row in found])
    elif found:
        rows = [(f"{row.namespace}/{row.repo}", row.branch, row.rev, local_time(row.committed_at)) for row in found]
        show(table("", ("package", "branch", "revision", "committed"), rows))
    else:
        say("no revisions yet; `ci-pipeline revisions import` takes them up from dist-git")


def backfill_package(  # noqa: PLR0913 - the options of a command
    package: Annotated[str, typer.Argument(metavar="PACKAGE", help="As in dist-git: rpms/mesa.")],
    *,
    branch: Annotated[str, typer.Option("--branch", help="The branch.")],
    last: Annotated[int | None, typer.Option("--last", min=1, max=_MOST, help="The newest so many.")] = None,
    from_rev: Annotated[str | None, typer.Option("--from", metavar="REV", help="From this revision ...")] = None,
    to_rev: Annotated[str | None, typer.Option("--to", metavar="REV", help="... to this one.")] = None,
    again: Annotated[Again, typer.Option("--again", help="Which of those that have run are run again.")] = Again.NONE,
    no_reuse: NoReuse = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run known revisions of a package once more, or for the first time. The branch stays as it is."""
    namespace, slash, repo = package.rpartition("/")
    if not slash:
        msg = f"{package!r} is not of the form NAMESPACE/PACKAGE, as rpms/mesa is"
        raise typer.BadParameter(msg, param_hint="PACKAGE")
    place = Place(namespace, repo, branch)
    choose = _chosen(place, last, from_rev, to_rev)
    options = Conf(reuse="never" if no_reuse else AS_CONFIGURED).options
    entries = backfill(settings.current(), place, choose, again=again, options=options, dry_run=dry_run)
    if as_json:
        print_json(entries)
    else:
        _say_entries(entries, dry_run=dry_run)


def _chosen(place: Place, last: int | None, first: str | None, until: str | None) -> Choose:
    if last is not None and first is None and until is None:
        return lambda session: revisions.newest_of(session, place, limit=last)
    if last is None and first is not None and until is not None:
        return _between(place, first, until)
    msg = "say which revisions: --last N, or --from REV and --to REV"
    raise typer.BadParameter(msg)


def _between(place: Place, first: str, until: str) -> Choose:
    def choose(session: Session) -> list[Revision]:
        found = revisions.from_to(session, place, first, until, limit=_MOST + 1)
        if len(found) > _MOST:
            msg = f"these are more than {_MOST} revisions; take fewer at a time"
            raise typer.BadParameter(msg)
        return found

    return choose


def _say_entries(entries: list[Entry], *, dry_run: bool) -> None:
    made = "would be run" if dry_run else "run"
    rows = [(str(one.change), one.run or ("" if one.skipped else made), one.skipped) for one in entries]
    show(table("", ("revision", "run", "skipped because"), rows))
    skipped = sum(bool(one.skipped) for one in entries)
    told = "would be run" if dry_run else "runs created, as side runs: the branch stays as it is"
    say(f"{len(entries) - skipped} {told}; {skipped} skipped")
