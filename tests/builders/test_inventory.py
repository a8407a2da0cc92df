"""The inventory is read as Ansible reads it; what cannot be used is said with the host's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ci_pipeline import settings
from ci_pipeline.builders import inventory
from ci_pipeline.errors import BuilderError

if TYPE_CHECKING:
    from pathlib import Path

    from ci_pipeline.settings import Settings


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the inventory is."""
    folder = tmp_path / "inventory"
    folder.mkdir()
    monkeypatch.setenv("CI_PIPELINE_BUILDERS__INVENTORY", str(folder / "hosts.yml"))
    return folder / "hosts.yml"


def read(path: Path, **hosts: dict[str, Any]) -> list[inventory.Builder]:
    """Write an inventory of these hosts, and read it."""
    path.write_text(yaml.safe_dump({"builders": {"hosts": hosts}}), encoding="utf-8")
    return inventory.read(configured())


def configured() -> Settings:
    """Return the settings."""
    settings.current.cache_clear()
    return settings.current()


def test_without_an_inventory_there_are_no_builders() -> None:
    """All runs on this machine."""
    assert inventory.read(configured()) == []


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "builder a of the inventory cannot be used: builder_folder: Field required"),
        ({"builder_folder": "/"}, "builder_folder: .*pattern"),
        ({"builder_folder": "/srv/../etc"}, r"builder_folder: .*without \.\."),
        ({"builder_folder": "/srv/$(id)"}, "builder_folder: .*pattern"),
        ({"builder_folder": "/srv/ci", "ansible_host": "-oProxyCommand=x"}, "ansible_host: .*pattern"),
        ({"builder_folder": "/srv/ci", "builder_arch": "s390x"}, "builder_arch: .*pattern"),
        ({"builder_folder": "/srv/ci", "builder_slots": 0}, "builder_slots: .*greater than or equal to 1"),
        ({"ansible_connection": "local"}, "builder a: ansible_connection must be ssh"),
    ],
)
def test_a_host_that_cannot_be_used_is_named(path: Path, variables: dict[str, Any], sentence: str) -> None:
    """With what it needs."""
    with pytest.raises(BuilderError, match=sentence):
        read(path, a=variables)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("builders: [", "could not be read; Ansible says: "),
        ("web: {hosts: {a: {}}}", "names no host in the group builders; add one"),
    ],
)
def test_an_inventory_that_cannot_be_used_is_named(path: Path, text: str, sentence: str) -> None:
    """In Ansible's words."""
    path.write_text(text, encoding="utf-8")

    with pytest.raises(BuilderError, match=rf"{path} \(builders.inventory\).*{sentence}"):
        inventory.read(configured())


def test_an_inventory_that_is_not_there_is_named(path: Path) -> None:
    """Ansible itself would go on with none."""
    with pytest.raises(BuilderError, match="there is no inventory "):
        inventory.read(configured())


def test_an_inventory_program_does_not_see_our_secrets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inventory may be a program of others."""
    monkeypatch.setenv("CI_PIPELINE_PROVENANCE__PASSPHRASE", "hunter2")
    program = path.with_name("hosts.sh")
    group = '{"builders": {"hosts": ["a"], "vars": {"builder_folder": "/srv/ci"}}}'
    program.write_text(f"#!/bin/sh\nenv > {path.parent}/env.txt\necho '{group}'\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("CI_PIPELINE_BUILDERS__INVENTORY", str(program))

    assert [one.name for one in inventory.read(configured())] == ["a"]
    assert "hunter2" not in (path.parent / "env.txt").read_text(encoding="utf-8")


def test_groups_and_their_variables_are_ansibles(path: Path) -> None:
    """Hosts of groups below, variables of groups, and the defaults."""
    text = """
builders:
  children:
    small: {hosts: {a: {}}}
    large: {hosts: {b: {ansible_host: 10.0.0.2, builder_arch: aarch64}}, vars: {builder_slots: 4, builder_machines: 2}}
web: {hosts: {c: {}}}
"""
    path.write_text(text, encoding="utf-8")
    (path.parent / "group_vars").mkdir()
    (path.parent / "group_vars" / "builders.yml").write_text("builder_folder: /srv/ci\n", encoding="ascii")
    builders = {one.name: one for one in inventory.read(configured())}
    a, b = builders["a"], builders["b"]

    assert set(builders) == {"a", "b"}
    assert (a.host, a.arch, a.slots, a.machines, a.folder) == ("a", "x86_64", 1, 1, "/srv/ci")
    assert (b.host, b.arch, b.slots, b.machines, b.folder) == ("10.0.0.2", "aarch64", 4, 2, "/srv/ci")
