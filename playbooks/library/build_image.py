#!/usr/bin/python
"""Have image-builder make the branch's image: a compressed qcow2 with exactly `compose_rev` deployed.

It takes commits from a server, by ref. So it gets one of its own, on the loopback, while it works: a repository with
this one commit under the branch's ref. Name, place and outputs are those of every image; it holds no key, no password.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_image import name_of, publish
from ansible.module_utils.ci_ostree import Repository, valid_ref
from ansible.module_utils.ci_program import run
from ansible.module_utils.ci_sandbox import last_line
from ansible.module_utils.ci_stage import InfrastructureError, Part, StageError, clean, run_module
from ansible.module_utils.ci_tools import output
from ansible.module_utils.ci_vm import CONSOLES

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGUMENTS: Final[dict[str, Any]] = {
    "ostree_repo": {"type": "path", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "ref": {"type": "str", "required": True},
    "arch": {"type": "str", "choices": list(CONSOLES), "required": True},
    "distro": {"type": "str", "required": True},
    "image_type": {"type": "str", "required": True},
    "image_dir": {"type": "path", "required": True},
    "cache": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What boots has to speak on the serial console: it is the log of the smoke test.
_BLUEPRINT: Final = 'name = "host"\n\n[customizations.kernel]\nappend = "console={console}"\n'


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: standard output is the module's answer."""


def build(params: dict[str, Any]) -> Part:
    """Build the image; see the module's docstring. Returns the outputs of generate_image."""
    for key in ("distro", "image_type"):
        if not _WORD.fullmatch(params[key]):
            raise InfrastructureError(f"{clean(params[key], 80)!r} is no {key} of image-builder; correct [image]")
    image = Path(params["image_dir"]) / name_of(params["version"], params["compose_rev"])
    workspace = Path(params["workspace"])
    log = workspace / "image-builder.log"
    logged = [{"path": str(log), "kind": "log"}]
    try:
        with _served(params, workspace / "commit") as url:
            disk = _image_builder(params, url, log)
        part = publish(disk, "qcow2", image)
    except StageError as error:
        error.part |= {"artifacts": logged if log.exists() else []}
        raise
    return part | {"artifacts": [*part["artifacts"], *logged]}


@contextlib.contextmanager
def _served(params: dict[str, Any], folder: Path) -> Iterator[str]:
    """Serve a repository with the one commit on the loopback for the block; yield its URL."""
    source = Repository(Path(params["ostree_repo"]))
    source.require(params["compose_rev"])
    repository = Repository(folder)
    repository.create()
    repository.ostree("pull-local", source.path, params["compose_rev"])
    repository.set_ref(params["ref"], params["compose_rev"])
    repository.ostree("summary", "--update")
    try:
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                # Once its socket is closed, a server that serves on takes all of a core.
                server.shutdown()
                thread.join()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _image_builder(params: dict[str, Any], url: str, log: Path) -> Path:
    workspace, arch = Path(params["workspace"]), params["arch"]
    blueprint, made = workspace / "blueprint.toml", workspace / "image"
    blueprint.write_text(_BLUEPRINT.format(console=CONSOLES[arch]), encoding="ascii")
    command = [
        *("image-builder", "build", params["image_type"], f"--distro={params['distro']}", f"--arch={arch}"),
        *(f"--ostree-url={url}", f"--ostree-ref={valid_ref(params['ref'])}", f"--blueprint={blueprint}"),
        *(f"--output-dir={made}", "--output-name=image", f"--cache={params['cache']}/image-builder"),
        "--progress=verbose",
    ]
    ended = run(command, log, float(params["limits"]["seconds"]))
    if ended.timed_out:
        raise InfrastructureError("image-builder did not end in the time of the stage")
    if ended.code != 0:
        # The commit has booted in the integration tests: what fails now is not the package's.
        raise InfrastructureError(f"image-builder failed: {last_line(ended.said)}")
    disk = made / "image.qcow2"
    if disk.is_symlink() or not disk.is_file():
        raise InfrastructureError(f"image-builder's {params['image_type']} is no qcow2; correct image.type")
    # Read as what it says it is, a disk could name other files of this builder for its content.
    if "backing file" in output(["qemu-img", "info", "-f", "qcow2", disk]):
        raise InfrastructureError("image-builder's disk is not whole: it has a backing file")
    return disk


if __name__ == "__main__":
    run_module(ARGUMENTS, build)
