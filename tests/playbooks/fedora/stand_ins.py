"""Stand-ins for Fedora's tools, which are not in Debian: each records its command line and behaves as the tool does.

What they end with, and what they say, lies in files of their folder; by itself each succeeds. The one of mock really
builds, with rpmbuild and no chroot; that of rpm-ostree really commits, with ostree; that of image-builder makes a disk.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_HEAD: Final = """#!{python}
# A stand-in for {name}.
import json, os, pathlib, subprocess, sys
here = pathlib.Path({folder!r})
args = sys.argv[1:]
with (here / "{name}.calls").open("a") as calls:
    calls.write(json.dumps(args) + "\\n")
def option(name, default=""):
    return next((arg.split("=", 1)[1] for arg in args if arg.startswith(name + "=")), default)
def told(name, default=""):
    path = here / ("{name}." + name)
    return path.read_text() if path.exists() else default
"""
MOCK: Final = """
if "--rebuild" not in args:
    sys.exit(0)
results = pathlib.Path(option("--resultdir"))
for log in ("build.log", "root.log", "state.log"):
    (results / log).write_text(told(log, "stand-in\\n"))
print(told("says", "Finish: rebuild"))
code = int(told("code", "0"))
if code == 0:
    top = results / "top"
    run = ["rpmbuild", "--rebuild", "--nodeps", "--define", f"_topdir {top}", "--define", f"_dbpath {top}/db"]
    done = subprocess.run([*run, "--define", option("--define"), args[-1]], stdout=-1, stderr=-2, text=True)
    (results / "build.log").write_text(done.stdout)
    code = 10 if done.returncode else 0
    for path in top.rglob("*.rpm"):
        path.rename(results / path.name)
    (results / pathlib.Path(args[-1]).name).write_bytes(pathlib.Path(args[-1]).read_bytes())
sys.exit(code)
"""
KOJI: Final = """
if "build" in args:
    print(told("says", "Uploading srpm\\n\\nCreated task: 4711\\nTask info: https://koji.example.org/koji/taskinfo?taskID=4711"))
    sys.exit(int(told("code", "0")))
print("Watching tasks (this may be safely interrupted)...")
print(told("watched", "4711 build (f26, hello): free -> closed"), flush=True)
if (here / "koji.hangs").exists():
    import time
    time.sleep(60)
sys.exit(int(told("watch_code", "0")))
"""
RPM_OSTREE: Final = """
print(told("says", "Resolving dependencies...done"))
code = int(told("code", "0"))
if code == 0:
    tree = here / "tree"
    (tree / "usr/etc").mkdir(parents=True, exist_ok=True)
    (tree / "usr/etc/treefile").write_text(pathlib.Path(args[-1]).read_text())
    commit = ["ostree", "commit", "--orphan", "--no-bindings", f"--repo={option('--repo')}", f"--tree=dir={tree}"]
    commit += [f"--parent={option('--parent') or 'none'}", f"--add-metadata-string={option('--add-metadata-string')}"]
    packages = told("pkglist", "[('hello', '0', '1.0', '1.fc26', 'noarch')]")
    commit += [f"--add-metadata=rpmostree.rpmdb.pkglist=@a(sssss) {packages}"]
    done = subprocess.run(commit, check=True, stdout=-1, text=True)
    pathlib.Path(option("--write-commitid-to")).write_text(done.stdout.strip())
sys.exit(code)
"""
IMAGE_BUILDER: Final = """
import urllib.request
with urllib.request.urlopen(f"{option('--ostree-url')}/refs/heads/{option('--ostree-ref')}") as answer:
    (here / "image-builder.rev").write_bytes(answer.read())
print(told("says", "Image build successful"))
code = int(told("code", "0"))
if code == 0:
    made = pathlib.Path(option("--output-dir"))
    made.mkdir()
    disk = made / told("file", f"{option('--output-name')}.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *told("options").split(), str(disk), "1M"], check=True)
sys.exit(code)
"""
SCRIPTS: Final = {"mock": MOCK, "koji": KOJI, "rpm-ostree": RPM_OSTREE, "image-builder": IMAGE_BUILDER}


class Tools:
    """The folder of the stand-ins, which is first on the PATH."""

    def __init__(self, folder: Path) -> None:
        """Make them."""
        self.folder = folder
        folder.mkdir()
        for name, script in SCRIPTS.items():
            head = _HEAD.format(python=sys.executable, name=name, folder=str(folder))
            (folder / name).write_text(head + script, encoding="ascii")
            (folder / name).chmod(0o755)

    def says(self, name: str, **files: object) -> None:
        """Let a tool end or speak otherwise; `_log` in a key is `.log` of the file's name."""
        for key, text in files.items():
            (self.folder / f"{name}.{key.replace('_log', '.log')}").write_text(str(text), encoding="utf-8")

    def calls(self, name: str) -> list[list[str]]:
        """Return the command lines of a tool, without its name."""
        path = self.folder / f"{name}.calls"
        lines: list[Any] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return lines
