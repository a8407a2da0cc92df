"""`leases` shows the test hosts that are lent, and returns them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ci_pipeline import settings, store
from ci_pipeline.store import host_leases
from tests.lending import project
from tests.makers import new_run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def lent(servers: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a lease of a run whose try nobody knows any more."""
    for name, value in project(tmp_path, tmp_path / "provider", "fine").items():
        monkeypatch.setenv(name, value)
    settings.current.cache_clear()
    run = new_run()
    with store.session() as session:
        lease = host_leases.begin(session, run, "integration_tests", 1, host_leases.Wanted("duffy", 1, 6))
        host_leases.record(session, lease.name, [{"name": "host-1", "address": "192.0.2.7"}])
        return lease.name


def test_nothing_is_lent(cli: Cli, servers: object) -> None:
    """As with provider qemu, whose hosts the stage boots itself."""
    shown = cli("leases")

    assert (shown.exit_code, shown.stdout) == (0, "no hosts are lent\n")


def test_one_that_is_not_known_is_named(cli: Cli, servers: object) -> None:
    """With what lists them."""
    shown = cli("leases", "return", "ci-nobody")

    assert shown.exit_code == 1
    assert "there is no lease ci-nobody; `ci-pipeline leases` lists them" in shown.stderr


def test_what_another_machine_has_to_return_is_said_with_where(cli: Cli, lent: str) -> None:
    """In the list, and when it is to be returned here."""
    with store.session() as session:
        lease = host_leases.named(session, lent)
        lease.machine, lease.until = "worker-2", lease.asked_at
    shown, refused = cli("leases"), cli("leases", "return", lent)

    assert "leaked: to be returned on worker-2" in " ".join(shown.stdout.split())
    assert refused.exit_code == 1
    assert "its hosts are on worker-2, and this is " in refused.stderr
    assert "or with --anyway here if that machine is gone" in refused.stderr


def test_what_is_lent_is_shown_and_returned(cli: Cli, lent: str) -> None:
    """Whose it is and its hosts; returned twice it is gone."""
    shown, data = cli("leases"), json.loads(cli("leases", "--json").stdout)
    returned = [cli("leases", "return", lent) for _ in range(2)]

    assert "192.0.2.7" in shown.stdout
    assert [(one["lease"], one["provider"], one["stage"], one["leaked"]) for one in data] == [
        (lent, "duffy", "integration_tests", False)
    ]
    assert [one.stdout for one in returned] == [f"{lent} is returned to duffy\n"] * 2
    assert cli("leases").stdout == "no hosts are lent\n"
