"""`builders` shows the machines stages go to; `status` tells of those that are set aside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ci_pipeline import settings, store
from ci_pipeline.cli import health
from ci_pipeline.store import builder_leases
from ci_pipeline.store.builder_leases import Ticket
from tests.makers import new_run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("database")

# Of a network that leads nowhere; a port on which nobody listens answers at once.
TWO = """
builders:
  vars: {builder_folder: /srv/ci, ansible_host: 127.0.0.1, ansible_port: 9, ansible_ssh_common_args: -F none}
  hosts: {b1: {builder_slots: 2}, b2: {builder_arch: aarch64}}
"""


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inventory of two builders, one of them in use, the other set aside."""
    path = tmp_path / "builders.yml"
    path.write_text(TWO, encoding="ascii")
    monkeypatch.setenv("CI_PIPELINE_BUILDERS__INVENTORY", str(path))
    settings.current.cache_clear()
    ticket = Ticket(run=new_run().id, stage="build_package", try_number=2)
    with store.session() as session:
        builder_leases.take(session, ticket, lambda: ("b1", ""), machines=0, seconds=60)
        builder_leases.set_aside(session, "b2", "builder b2 was lost during the stage", seconds=300)


def test_without_an_inventory_it_says_so(cli: Cli) -> None:
    """All runs here."""
    shown = cli("builders")

    assert (shown.exit_code, shown.stdout) == (
        0,
        "all stages run on this machine: builders.inventory is not set\n",
    )


def test_who_has_which_and_who_is_set_aside_is_shown(cli: Cli, two: None) -> None:
    """Since when, until when, and why; in status, too."""
    shown, data = cli("builders", "--no-connect"), json.loads(cli("builders", "--no-connect", "--json").stdout)

    assert shown.exit_code == 0
    assert "f26/1 build_package since " in shown.stdout
    assert "set aside" in shown.stdout
    assert [(one["name"], one["arch"], len(one["held"]), one["reachable"]) for one in data] == [
        ("b1", "x86_64", 1, None),
        ("b2", "aarch64", 0, None),
    ]
    assert data[0]["held"][0]["try_number"] == 2
    assert data[1]["failures"] == 1
    assert health.work(settings.current()).builders[0].endswith("builder b2 was lost during the stage")


def test_one_that_cannot_be_reached_is_named_with_the_reason(cli: Cli, two: None) -> None:
    """And the exit status says so."""
    shown = cli("builders")

    assert shown.exit_code == 1
    assert "builder b1 cannot be reached: " in shown.stdout
    assert "Connection refused" in shown.stdout
