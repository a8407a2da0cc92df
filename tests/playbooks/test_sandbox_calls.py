"""The system calls a sandbox refuses: each is really made in there, and what builds need goes on working."""

from __future__ import annotations

import ctypes
import errno
import json
import platform
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils import ci_seccomp
from ansible.module_utils.ci_rootbox import RootSandbox
from ansible.module_utils.ci_sandbox import Sandbox
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.stage_runs import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Makes calls, each a number and its arguments, and prints their errors (0: none) by name.
MAKE = """
import ctypes, json, os, sys
syscall = ctypes.CDLL(None, use_errno=True).syscall
def error_of(number, *arguments):
    ctypes.set_errno(0)
    mine = os.getpid()
    answer = syscall(*map(ctypes.c_long, (number, *arguments)), *[ctypes.c_long(0)] * (6 - len(arguments)))
    if os.getpid() != mine:
        os._exit(0)
    return ctypes.get_errno() if answer == -1 else 0
print(json.dumps({name: error_of(*call) for name, call in json.loads(sys.argv[1]).items()}))
"""
NEW_USER = 0x10000000
CHILD = 17  # SIGCHLD
MANY_BITS = 1 << 32  # the kernel does not look at these bits of an int
INTEL_GETPID = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("b814000000cd80c3"))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())
"""
USUAL = """
import concurrent.futures, multiprocessing, socket, subprocess, tempfile
with concurrent.futures.ThreadPoolExecutor() as pool:
    assert list(pool.map(abs, [-1])) == [1]
with multiprocessing.Pool(2) as pool:
    assert pool.map(abs, [-1]) == [1]
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
assert socket.if_nameindex()
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    pass
with socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET6), socket.socketpair()[0]:
    pass
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as routes:
    routes.bind((0, 0))
"""


def number(name: str) -> int:
    """Return the number of a system call on this machine; negative when it has none of this name."""
    found: int = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name(name.encode())
    return found if found != -1 else ci_seccomp.COMMON.get(name, -1)


@pytest.fixture(params=[Sandbox, RootSandbox])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    """Return the sandbox of a build, or that of what looks like root."""
    kind: type[Sandbox] = request.param
    return kind(tmp_path, LIMITS)


@pytest.fixture
def errors(sandbox: Sandbox) -> Callable[..., dict[str, str]]:
    """Return a function that makes calls, and tells by name how they fail."""

    def make(calls: dict[str, tuple[str, Any]] | dict[str, tuple[Any, ...]]) -> dict[str, str]:
        numbered = {name: (number(call), *arguments) for name, (call, *arguments) in calls.items()}
        ran = sandbox.run(["python3", "-c", MAKE, json.dumps(numbered)])
        assert ran.returncode == 0, ran.stderr
        return {name: errno.errorcode.get(code, "") for name, code in json.loads(ran.stdout).items()}

    return make


def test_what_no_build_needs_is_refused(errors: Callable[..., dict[str, str]], sandbox: Sandbox) -> None:
    """As far as this machine has it. Most of it would fail otherwise, too, but for its arguments."""
    more = ci_seccomp.REFUSED_ROOT if sandbox.looks_like_root else ci_seccomp.REFUSED_BUILD
    names = [name for name in (*ci_seccomp.REFUSED, *more) if number(name) >= 0]
    found = errors({name: (name,) for name in names})

    assert len(names) > 40
    assert found == dict.fromkeys(names, "EPERM")


def test_a_tree_that_is_installed_waits_for_no_disk(errors: Callable[..., dict[str, str]], sandbox: Sandbox) -> None:
    """There a sync is not even made: it would fail, as it does in a build. Nobody waits for what is thrown away."""
    calls = {"fsync": ("fsync", 999), "fdatasync": ("fdatasync", 999), "syncfs": ("syncfs", 999)}

    assert errors(calls) == dict.fromkeys(calls, "" if sandbox.looks_like_root else "EBADF")


def test_new_namespaces_are_refused(errors: Callable[..., dict[str, str]]) -> None:
    """By each of the three ways; where the C library can fall back, it is led to."""
    calls = {
        "unshare": ("unshare", NEW_USER),
        "unshare more": ("unshare", NEW_USER | 0x200),
        "unshare mounts": ("unshare", 0x20000),
        "clone": ("clone", NEW_USER | CHILD),
        "clone3": ("clone3",),
        "fork": ("clone", CHILD),
        "unshare files": ("unshare", 0x400),
    }

    assert errors(calls) == {
        "unshare": "EPERM",
        "unshare more": "EPERM",
        "unshare mounts": "EPERM",
        "clone": "EPERM",
        "clone3": "ENOSYS",
        "fork": "",
        "unshare files": "",
    }


def test_typing_into_a_terminal_is_refused(errors: Callable[..., dict[str, str]]) -> None:
    """Also when bits are set that the kernel does not look at. Other requests are the kernel's to answer."""
    calls = {
        "type": ("ioctl", 1, 0x5412),
        "type with more bits": ("ioctl", 1, 0x5412 | MANY_BITS),
        "console": ("ioctl", 1, 0x541C),
        "size": ("ioctl", 1, 0x5413),
    }

    assert errors(calls) == {"type": "EPERM", "type with more bits": "EPERM", "console": "EPERM", "size": "ENOTTY"}


def test_personalities_that_weaken_are_refused(errors: Callable[..., dict[str, str]]) -> None:
    """What asks, names the machine or makes addresses predictable is for builds; nothing else is."""
    allowed = {"ask": 0xFFFFFFFF, "usual": 0, "32 bit": 8, "debugger": 0x40000, "both": 0x40008}
    refused = {"executable": 0x400000, "page 0": 0x100000, "top bit": 0x80000000, "svr4": 1, "all but one": 0xFFFFFFFE}
    calls = {name: ("personality", value) for name, value in {**refused, **allowed}.items()}

    assert errors(calls) == dict.fromkeys(refused, "EPERM") | dict.fromkeys(allowed, "")


def test_odd_sockets_are_as_if_the_kernel_had_none(errors: Callable[..., dict[str, str]]) -> None:
    """Packets, crypto, virtual machines, old networks; protocols whose modules anyone could have loaded."""
    families = {"packet": 17, "crypto": 38, "machines": 40, "x25": 9, "packet with more bits": 17 | MANY_BITS}
    protocols = {"sctp": (2, 1, 132), "dccp": (2, 6, 33), "firewall": (16, 3, 12)}
    calls = {name: ("socket", family, 3, 0) for name, family in families.items()}
    calls |= {name: ("socket", *arguments) for name, arguments in protocols.items()}
    calls |= {"pair": ("socketpair", 30, 1, 0)}

    assert errors(calls) == (
        dict.fromkeys(families, "EAFNOSUPPORT") | dict.fromkeys(protocols, "EPROTONOSUPPORT") | {"pair": "EAFNOSUPPORT"}
    )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of this architecture alone")
def test_other_architectures_are_refused(errors: Callable[..., dict[str, str]], sandbox: Sandbox) -> None:
    """Neither the numbers of x32 nor the calls of 32 bit programs get past the filter."""
    number_of_x32 = errors({"x32": ("getpid",)})
    ran = sandbox.run(["python3", "-c", MAKE, json.dumps({"x32": (0x40000000 | number("getpid"),)})])
    intel = sandbox.run(["python3", "-c", INTEL_GETPID])

    assert number_of_x32 == {"x32": ""}
    assert json.loads(ran.stdout) == {"x32": errno.EPERM}
    assert intel.stdout.strip() in {str(-errno.EPERM), ""}, intel.stderr


def test_what_builds_do_goes_on_working(sandbox: Sandbox) -> None:
    """Threads, processes, servers on loopback."""
    ran = sandbox.run(["python3", "-c", USUAL])

    assert ran.returncode == 0, ran.stderr


def test_a_build_may_debug_itself(tmp_path: Path) -> None:
    """Sanitizers that look for leaks do so, and debuggers are tested."""
    trace = {"trace me": (number("ptrace"), 0)}
    ran = Sandbox(tmp_path, LIMITS).run(["python3", "-c", MAKE, json.dumps(trace)])

    assert json.loads(ran.stdout) == {"trace me": 0}


def test_without_libseccomp_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setattr(ci_seccomp, "_LIBRARY", "libseccomp.so.none")
    ci_seccomp.program.cache_clear()

    with pytest.raises(InfrastructureError, match="libseccomp is not installed on this builder; install it"):
        Sandbox(tmp_path, LIMITS).run(["true"])
