"""`leases`: the test hosts that are lent, and returning them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from ci_pipeline import settings, store
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import local_time, print_json, say, show, table
from ci_pipeline.provisioning import Lender
from ci_pipeline.store import host_leases
from ci_pipeline.store.host_tables import HostLease
from ci_pipeline.store.tables import Run

leases = typer.Typer(help="The test hosts that a provider has lent.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(leases, name="leases")


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A lease that is not returned; `hosts` as hosts.json has them, `leaked`: it is nobody's any more.

    `machine` is the one whose own the hosts are, which has to return them; `""`: any of the pipeline's can.
    """

    lease: str
    provider: str
    machine: str
    run: str
    stage: str
    try_number: int
    since: datetime
    until: datetime
    leaked: bool
    hosts: list[dict[str, Any]]
    trouble: str


@leases.callback()
def show_leases(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show what is lent: since when, until when at most, by whom, and to which run."""
    if context.invoked_subcommand:
        return
    with store.session() as session:
        found = _states(session)
    if as_json:
        print_json(found)
    elif not found:
        say("no hosts are lent")
    else:
        columns = ("lease", "provider", "run", "stage", "since", "until", "hosts", "")
        show(table("", columns, map(_row, found)))


@leases.command("return")
def return_lease(
    name: Annotated[str, typer.Argument(metavar="LEASE", help="as `leases` lists it")],
    *,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also when they are on another machine, which is gone.")
    ] = False,
) -> None:
    """Return the hosts of a lease now, whoever may use them. Twice is as good as once."""
    with store.session() as session:
        lease = host_leases.named(session, name)
        run = session.get_one(Run, lease.run_id)
    Lender(settings.load()).give_back(lease, run, anyway=anyway)
    say(f"{name} is returned to {lease.provider}")


def _states(session: Session) -> list[LeaseState]:
    leaked = {lease.name for lease, _ in host_leases.leaked(session)}
    return [_state(lease, run, leaked=lease.name in leaked) for lease, run in host_leases.lent(session)]


def _state(lease: HostLease, run: Run, *, leaked: bool) -> LeaseState:
    return LeaseState(
        lease=lease.name,
        provider=lease.provider,
        machine=lease.machine,
        run=run.run_id,
        stage=lease.stage,
        try_number=lease.try_number,
        since=lease.asked_at,
        until=lease.until,
        leaked=leaked,
        hosts=lease.hosts,
        trouble=lease.trouble,
    )


def _row(one: LeaseState) -> tuple[str, ...]:
    hosts = ", ".join(str(host["address"]) for host in one.hosts) or "none yet"
    elsewhere = f"to be returned on {one.machine}" if one.leaked and one.machine else ""
    what = ": ".join(filter(None, ("leaked" if one.leaked else "", elsewhere, one.trouble)))
    return one.lease, one.provider, one.run, one.stage, local_time(one.since), local_time(one.until), hosts, what
