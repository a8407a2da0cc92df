"""The second yardstick of a change: the calls of the tools alone, as a person would type them, one after another.

No sandbox, no limits, no reports. The package's tests are playbooks, as Fedora's standard has them: `ansible-playbook`
is the tool that runs them. That is as little as can be done.
"""

import os
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.bare_machine import Machine, free_port, speaks_ssh
from tests.playbooks.stage_runs import PLAYBOOKS

_OS: Final = "atomic-host"
_TEST_ROLES: Final = PLAYBOOKS / "roles" / "functional_tests" / "files" / "sti"
REF: Final = "fedora/f26/x86_64/atomic-host"
_DNF: Final = """[main]
assumeyes=1
best=1
cachedir={folder}/dnf
gpgcheck=0
install_weak_deps=0
installroot={folder}/tree
logdir={folder}
module_platform_id=platform:atomic
plugins=0
reposdir=/nonexistent
[base]
name=base
baseurl=file://{base}
[candidate]
name=candidate
baseurl=file://{folder}/repo
"""
_LINKS: Final = {
    "home": "var/home",
    "media": "run/media",
    "mnt": "var/mnt",
    "opt": "var/opt",
    "root": "var/roothome",
    "srv": "var/srv",
    "usr/local": "../var/usrlocal",
}
_EMPTIED: Final = ("dev", "proc", "run", "sys", "tmp", "var", "boot")
_KERNEL: Final = ("root=LABEL=root", "rw", "console=ttyS0", "panic=-1")
_SSH: Final = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
_GRUB: Final = Path("/usr/lib/grub/i386-pc")
_FIRST_SECTOR: Final = 2048
_MEGABYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class BareTools:
    """Carries changes of a package out by hand, on a branch of its own.

    Attributes:
        base: folder of the packages of the base OS.
        folder: for all that is made.
        url: the package's repository.
        repo: its name, which is also that of the one program in it.
    """

    base: Path
    folder: Path
    url: str
    repo: str

    @property
    def ostree(self) -> Path:
        """The branch's repository."""
        return self.folder / "ostree"

    def carry_out(self, name: str, rev: str) -> None:
        """Build a revision and test it, compose a host with it, boot and test that, make an image, and boot that."""
        work = self.folder / name
        work.mkdir(parents=True)
        _build(work, self.url, rev, self.repo)
        _test_package(work)
        commit = self.compose(work, ["host-base", self.repo])
        self._boot_compose(work, commit)
        self._boot_image(work, commit)
        shutil.rmtree(work, ignore_errors=True)

    def compose(self, work: Path, install: Sequence[str]) -> str:
        """Commit a host of these packages, of the base and of work/repo, to the branch; return the commit."""
        if not self.ostree.exists():
            _run("ostree", "init", f"--repo={self.ostree}", "--mode=archive")
        (work / "dnf.conf").write_text(_DNF.format(folder=work, base=self.base), encoding="ascii")
        tree = work / "tree"
        (work / ".rpmmacros").write_text("%_dbpath /usr/share/rpm\n", encoding="ascii")
        command = ("dnf", f"--config={work}/dnf.conf", "--releasever=0", "install", *install)
        subprocess.run(command, env={**os.environ, "HOME": str(work)}, check=True, capture_output=True)
        _shape(tree)
        options = ("--owner-uid=0", "--owner-gid=0", "--no-xattrs", "--bootable")
        made = _run("ostree", "commit", f"--repo={self.ostree}", f"--branch={REF}", f"--tree=dir={tree}", *options)
        _run("ostree", "summary", f"--repo={self.ostree}", "--update")
        return made

    def _deploy(self, sysroot: Path, commit: str) -> dict[str, str]:
        """Deploy a commit; return what the boot entry says."""
        sysroot.mkdir()
        _run("ostree", "admin", "init-fs", str(sysroot))
        _run("ostree", "admin", "os-init", f"--sysroot={sysroot}", _OS)
        _run("ostree", "config", f"--repo={sysroot}/ostree/repo", "set", "sysroot.bootloader", "none")
        _run("ostree", "pull-local", f"--repo={sysroot}/ostree/repo", str(self.ostree), commit)
        _run("ostree", "refs", f"--repo={sysroot}/ostree/repo", f"--create={REF}", commit)
        arguments = [f"--karg={word}" for word in _KERNEL]
        _run("ostree", "admin", "deploy", f"--sysroot={sysroot}", f"--os={_OS}", *arguments, REF)
        (entry,) = (sysroot / "boot" / "loader" / "entries").glob("*.conf")
        return dict(line.split(" ", 1) for line in entry.read_text(encoding="utf-8").splitlines() if " " in line)

    def _boot_compose(self, work: Path, commit: str) -> None:
        sysroot, key = work / "sysroot", work / "key"
        entry = self._deploy(sysroot, commit)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        home = sysroot / "ostree" / "deploy" / _OS / "var" / "roothome" / ".ssh"
        home.mkdir(mode=0o700, parents=True)
        home.parent.chmod(0o700)
        (home / "authorized_keys").write_text(key.with_suffix(".pub").read_text(encoding="ascii"), encoding="ascii")
        _run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(sysroot), f"{work}/disk", f"{_MEGABYTES}M")
        port = free_port()
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:22"
        card = ("-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:12:34:56")
        paths = ("-kernel", _inside(sysroot, entry["linux"]), "-initrd", _inside(sysroot, entry["initrd"]))
        kernel = (*map(str, paths), "-append", entry["options"].strip())
        with Machine(work / "console", (*kernel, *_drive(work / "disk", "raw"), *card)) as machine:
            machine.wait(lambda: speaks_ssh(port))
            _test_host(work, key, port)
        _remove(sysroot)

    def _boot_image(self, work: Path, commit: str) -> None:
        sysroot, disk, image = work / "sysroot", work / "disk", work / "image.qcow2"
        disk.unlink()
        entry = self._deploy(sysroot, commit)
        names = {key: _inside(sysroot, entry[key]).relative_to(sysroot) for key in ("linux", "initrd")}
        start = [f"linux /{names['linux']} {entry['options']}", f"initrd /{names['initrd']}", "boot"]
        (sysroot / "boot" / "grub").mkdir()
        (sysroot / "boot" / "grub" / "grub.cfg").write_text("\n".join(["set root=(hd0,msdos1)", *start, ""]))
        options = ("-O", "^metadata_csum_seed", "-E", f"offset={_FIRST_SECTOR * 512}")
        _run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(sysroot), *options, str(disk), f"{_MEGABYTES}M")
        _remove(sysroot)
        _make_bootable(disk, work / "core.img")
        _run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(disk), str(image))
        console = work / "console-of-image"
        with Machine(console, _drive(image, "qcow2")) as machine:
            machine.wait(lambda: console.exists() and b"host: ready" in console.read_bytes())


def _build(work: Path, url: str, rev: str, repo: str) -> None:
    """Build the packages, and index them."""
    _run("git", "clone", "--quiet", url, str(work / "source"))
    _run("git", "-C", str(work / "source"), "checkout", "--quiet", rev)
    defines = {"_topdir": work / "rpmbuild", "_sourcedir": work / "source", "dist": ".fc26", "_dbpath": work / "rpmdb"}
    given = [word for key, value in defines.items() for word in ("--define", f"{key} {value}")]
    _run("rpmbuild", "--quiet", "-ba", *given, str(work / "source" / f"{repo}.spec"))
    (work / "repo").mkdir()
    for rpm in (work / "rpmbuild").rglob("*.rpm"):
        rpm.rename(work / "repo" / rpm.name)
    _run("createrepo_c", "--quiet", "--excludes=*.src.rpm", str(work / "repo"))


def _test_package(work: Path) -> None:
    """Run the tests of the package here."""
    inventory = f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}"
    _play_tests(work, "classic", inventory)


def _test_host(work: Path, key: Path, port: int) -> None:
    """Run the tests of the host that listens there."""
    told = {
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": key,
        "ansible_ssh_common_args": f"'{shlex.join(_SSH)}'",
    }
    _play_tests(work, "atomic", " ".join(["localhost", *(f"{name}={value}" for name, value in told.items())]))


def _play_tests(work: Path, tag: str, host: str) -> None:
    inventory, artifacts = work / f"inventory-{tag}", work / f"artifacts-{tag}"
    inventory.write_text(f"[{tag}]\n{host}\n", encoding="utf-8")
    artifacts.mkdir()
    subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), f"--tags={tag}", f"--inventory={inventory}", "tests.yml"],
        cwd=work / "source" / "tests",
        env={
            **os.environ,
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_ROLES_PATH": str(_TEST_ROLES),
            "TEST_ARTIFACTS": str(artifacts),
        },
        check=True,
        capture_output=True,
    )


def _shape(tree: Path) -> None:
    """Give an installed tree the shape of a commit."""
    for name in _EMPTIED:
        shutil.rmtree(tree / name)
        (tree / name).mkdir()
    for name, target in _LINKS.items():
        (tree / name).rmdir()
        (tree / name).symlink_to(target)
    (tree / "etc").rename(tree / "usr" / "etc")
    (tree / "ostree").symlink_to("sysroot/ostree")


def _make_bootable(disk: Path, core: Path) -> None:
    """Write GRUB, and a table of one partition, before the file system."""
    modules = ("biosdisk", "ext2", "linux", "normal", "part_msdos")
    _run("grub-mkimage", "-O", "i386-pc", "-d", str(_GRUB), "-p", "(hd0,msdos1)/boot/grub", "-o", str(core), *modules)
    sectors = _MEGABYTES * 2048
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", _FIRST_SECTOR, sectors)
    record = (_GRUB / "boot.img").read_bytes()[:440].ljust(446, b"\0") + entry
    with disk.open("r+b") as file:
        file.truncate((_FIRST_SECTOR + sectors) * 512)
        file.write(record.ljust(510, b"\0") + b"\x55\xaa" + core.read_bytes())


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command}: {done.stderr[-500:]}"
    return done.stdout.strip()


def _drive(path: Path, kind: str) -> tuple[str, ...]:
    options = f"file={path},format={kind},if=none,id=root,cache=unsafe,snapshot=on"
    return ("-drive", options, "-device", "virtio-blk-pci,drive=root")


def _inside(sysroot: Path, entry: str) -> Path:
    """Return the file of a boot entry, which counts from the root or from /boot."""
    name = entry.strip().lstrip("/")
    return sysroot / name if (sysroot / name).is_file() else sysroot / "boot" / name


def _remove(sysroot: Path) -> None:
    for deployment in (sysroot / "ostree" / "deploy" / _OS / "deploy").glob("*.[0-9]"):
        _run("chattr", "-i", str(deployment))
    shutil.rmtree(sysroot)
