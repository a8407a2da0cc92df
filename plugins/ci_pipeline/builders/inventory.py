"""The builders there are: what Ansible makes of the inventory, and what of it counts here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ci_pipeline.builders.environment import passed_on
from ci_pipeline.errors import BuilderError
from ci_pipeline.settings import Settings, project_folder

_GROUP: Final = "builders"
_SECONDS: Final = 60


def _is_below_root(path: str) -> str:
    if ".." in Path(path).parts or len(Path(path).parts) < 2:  # noqa: PLR2004 - the root, and a folder
        msg = "must be a folder of its own, below the root and without .."
        raise ValueError(msg)
    return str(Path(path))


_Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=253)]
_Folder = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]+$"), AfterValidator(_is_below_root)]


class Builder(BaseModel):
    """A builder: a host of the group `builders`, with those of its variables that count here.

    Attributes:
        arch: architecture of what it makes and runs, `builder_arch`.
        slots: how many stages it carries out at once, `builder_slots`.
        machines: how many virtual machine's worth of them, `builder_machines`.
        folder: the folder there that is ours, `builder_folder`.
        ssh_arguments: further arguments of every ssh, as Ansible passes them on.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    host: _Host = Field(alias="ansible_host")
    port: int | None = Field(None, alias="ansible_port", ge=1, le=65535)
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")] | None = Field(
        None, alias="ansible_user"
    )
    key: str | None = Field(None, alias="ansible_ssh_private_key_file")
    ssh_arguments: str = Field("", alias="ansible_ssh_common_args")
    folder: _Folder = Field(alias="builder_folder")
    arch: Annotated[str, StringConstraints(pattern=r"^(x86_64|aarch64)$")] = Field(alias="builder_arch")
    slots: int = Field(1, alias="builder_slots", ge=1, le=1000)
    machines: int = Field(1, alias="builder_machines", ge=0, le=1000)


def read(settings: Settings) -> list[Builder]:
    """Return the builders of `builders.inventory`, in its order; none when it is not set.

    Raises:
        BuilderError: the inventory cannot be read, names no builder, or one of them cannot be used; the text says
            which and what it needs.
    """
    if settings.builders.inventory is None:
        return []
    hosts = _hosts(settings.builders.inventory)
    if not hosts:
        msg = f"{settings.builders.inventory} (builders.inventory) names no host in the group {_GROUP}; add one"
        raise BuilderError(msg)
    return [_builder(name, variables, settings.arch) for name, variables in hosts.items()]


def _hosts(path: Path) -> dict[str, dict[str, Any]]:
    """Return the hosts of the group, with their variables."""
    if not path.exists():
        msg = f"there is no inventory {path} (builders.inventory)"
        raise BuilderError(msg)
    known = json.loads(_ask_ansible("--list", "--limit", _GROUP, path=path) or "{}")
    variables = known.get("_meta", {}).get("hostvars", {})
    return {name: variables.get(name, {}) for name in _members(known, _GROUP)}


def _members(known: dict[str, Any], group: str) -> list[str]:
    """Return the hosts of a group and of the groups in it."""
    own = known.get(group, {})
    below = [host for child in own.get("children", []) for host in _members(known, child)]
    return list(dict.fromkeys([*own.get("hosts", []), *below]))


def _ask_ansible(*arguments: str, path: Path) -> str:
    program = Path(sys.executable).parent / "ansible-inventory"
    environment = passed_on() | {
        "ANSIBLE_CONFIG": str(project_folder() / "playbooks" / "ansible.cfg"),
        # What cannot be parsed is an error, not an empty inventory.
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
    }
    command = [str(program), "--inventory", str(path), *arguments]
    try:
        asked = subprocess.run(  # noqa: S603 - the path is the operator's
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{path} (builders.inventory) could not be read: {error}"
        raise BuilderError(msg) from error
    if asked.returncode != 0:
        said = " ".join(asked.stderr.split())[:300]
        msg = f"{path} (builders.inventory) could not be read; Ansible says: {said}"
        raise BuilderError(msg)
    return asked.stdout


def _builder(name: str, variables: dict[str, Any], arch: str) -> Builder:
    if variables.get("ansible_connection", "ssh") != "ssh":
        msg = f"builder {name}: ansible_connection must be ssh; another way to reach it is not supported"
        raise BuilderError(msg)
    found = {"ansible_host": name, "builder_arch": arch, **variables}
    if "ansible_private_key_file" in variables:
        found.setdefault("ansible_ssh_private_key_file", variables["ansible_private_key_file"])
    try:
        return Builder.model_validate({**found, "name": name})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        msg = f"builder {name} of the inventory cannot be used: {problem['loc'][0]}: {problem['msg']}"
        raise BuilderError(msg) from error
