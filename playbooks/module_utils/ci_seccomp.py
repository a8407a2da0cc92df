"""The filter of system calls in a sandbox: what no build needs and kernels have been attacked through is refused.

libseccomp compiles it, bubblewrap loads it right before it starts the program. A call that is refused fails with EPERM;
clone3 as on a kernel without it, so that the C library falls back to clone; families of sockets as if they were not
built in. ptrace is left to builds: sanitizers that look for leaks, debuggers and strace in %check use it, and in a
namespace of processes it reaches nothing but the build's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import socket
import termios
from typing import TYPE_CHECKING, Final

from ansible.module_utils.ci_stage import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARY: Final = "libseccomp.so.2"
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_BAD_ARCHITECTURE: Final = 2  # the attribute: what a call of another architecture gets
_NOT_EQUAL, _EQUAL, _GREATER, _MASKED_EQUAL = 1, 4, 6, 7
_UNKNOWN: Final = -1
_INT: Final = 0xFFFFFFFF  # the kernel looks at no more of an int
# Namespaces: time, mount, cgroup, uts, ipc, user, process, network.
_NAMESPACES: Final = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
# 32 bit names for machines, and addresses that are not random, which debuggers and sanitizers ask for.
_PERSONALITIES: Final = 0x0000008 | 0x0040000
_TOP_BIT: Final = 0x80000000
_TERMINAL: Final = (termios.TIOCSTI, 0x541C)  # TIOCLINUX
# Behind these, no family is for a build.
_FAMILIES: Final = (0, socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
_PROTOCOLS: Final = (33, 115, 132)  # DCCP, L2TP, SCTP: loaded by whoever asks for them

# Mounts; keys; programs in the kernel and ways to make it wait; what is another's or the machine's; what is old.
REFUSED: Final = (
    "setns",
    "pivot_root",
    "mount",
    "umount",
    "umount2",
    "fsopen",
    "fsmount",
    "fsconfig",
    "fspick",
    "move_mount",
    "open_tree",
    "mount_setattr",
    "statmount",
    "listmount",
    "open_tree_attr",
    "add_key",
    "keyctl",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "fanotify_init",
    "lookup_dcookie",
    "open_by_handle_at",
    "quotactl",
    "quotactl_fd",
    "acct",
    "swapon",
    "swapoff",
    "syslog",
    "vhangup",
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "query_module",
    "get_kernel_syms",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "stime",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "modify_ldt",
    "vm86",
    "vm86old",
    "uselib",
    "ustat",
    "sysfs",
    "nfsservctl",
    "_sysctl",
    "move_pages",
    "migrate_pages",
    "kcmp",
    "pidfd_getfd",
)
# What scriptlets have no use for either; they may change root.
REFUSED_ROOT: Final = ("ptrace", "process_vm_readv", "process_vm_writev")
REFUSED_BUILD: Final = ("chroot",)
# What waits for the disk. A tree that a crash cuts short is made anew, and package code can hold up nobody's disk.
SKIPPED_ROOT: Final = ("fsync", "fdatasync", "sync", "syncfs", "sync_file_range")
# Since 5.1 a system call has the same number everywhere. An older libseccomp does not know all names.
COMMON: Final = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "statmount": 457,
    "listmount": 458,
    "open_tree_attr": 467,
}


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def equal(arg: int, value: int) -> _Comparison:
    """Return that an argument, an int, has this value."""
    return _Comparison(arg, _MASKED_EQUAL, _INT, value)


def has(arg: int, bits: int, value: int | None = None) -> _Comparison:
    """Return that of these bits of an argument those of `value` are set; by default all."""
    return _Comparison(arg, _MASKED_EQUAL, bits, bits if value is None else value)


class Filter:
    """A filter that grows rule by rule. What no rule is for is allowed."""

    def __init__(self) -> None:
        """Begin with a filter that refuses other architectures. Raises InfrastructureError without libseccomp."""
        self._library = _library()
        self._context = self._library.seccomp_init(_ALLOW)
        self._check(self._library.seccomp_attr_set(self._context, _BAD_ARCHITECTURE, _ERRNO | errno.EPERM))

    def refuse(self, name: str, *comparisons: _Comparison, error: int = errno.EPERM) -> None:
        """Refuse a system call whose arguments are all like this. One this architecture lacks is none to refuse."""
        number = COMMON.get(name) or self._library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            return
        array = (_Comparison * max(1, len(comparisons)))(*comparisons)
        self._check(
            self._library.seccomp_rule_add_array(self._context, _ERRNO | error, number, len(comparisons), array)
        )

    def program(self) -> bytes:
        """Return the filter as the kernel takes it, and end it."""
        with os.fdopen(os.memfd_create("seccomp"), "rb") as file:
            self._check(self._library.seccomp_export_bpf(self._context, file.fileno()))
            self._library.seccomp_release(self._context)
            file.seek(0)
            return file.read()

    def _check(self, code: int) -> None:
        if code < 0:
            raise InfrastructureError(f"libseccomp cannot make the sandbox's filter: {os.strerror(-code)}")


@functools.cache
def program(*, root: bool) -> bytes:
    """Return the filter of a build, or of what looks like root, where syncs do nothing and succeed.

    Raises InfrastructureError without libseccomp.
    """
    rules = Filter()
    for name in (*REFUSED, *(REFUSED_ROOT if root else REFUSED_BUILD)):
        rules.refuse(name)
    for name in SKIPPED_ROOT if root else ():
        rules.refuse(name, error=0)
    _refuse_namespaces(rules)
    _refuse_personalities(rules)
    _refuse_sockets(rules)
    for request in _TERMINAL:
        rules.refuse("ioctl", equal(1, request))
    return rules.program()


@contextlib.contextmanager
def opened(*, root: bool) -> Iterator[int]:
    """Yield a file with the filter, for `bwrap --seccomp`."""
    with os.fdopen(os.memfd_create("seccomp"), "r+b") as file:
        file.write(program(root=root))
        file.seek(0)
        yield file.fileno()


def _refuse_namespaces(rules: Filter) -> None:
    for bit in _NAMESPACES:
        rules.refuse("unshare", has(0, bit))
        rules.refuse("clone", has(0, bit))
    # Its flags are in memory, where no filter looks. Without it, the C library uses clone.
    rules.refuse("clone3", error=errno.ENOSYS)


def _refuse_personalities(rules: Filter) -> None:
    """Refuse what is not a combination of the allowed bits; all bits together only ask what it is."""
    for bit in (1 << number for number in range(31)):
        if not bit & _PERSONALITIES:
            rules.refuse("personality", has(0, _TOP_BIT | bit, bit))
        rules.refuse("personality", has(0, _TOP_BIT | bit, _TOP_BIT))


def _refuse_sockets(rules: Filter) -> None:
    for call in ("socket", "socketpair"):
        rules.refuse(call, _Comparison(0, _GREATER, max(_FAMILIES)), error=errno.EAFNOSUPPORT)
        for family in set(range(max(_FAMILIES))) - set(_FAMILIES):
            rules.refuse(call, equal(0, family), error=errno.EAFNOSUPPORT)
    # Of the kernel's own sockets, the one that tells of interfaces.
    not_routes = _Comparison(2, _NOT_EQUAL, 0)
    rules.refuse("socket", equal(0, socket.AF_NETLINK), not_routes, error=errno.EPROTONOSUPPORT)
    for protocol in _PROTOCOLS:
        rules.refuse("socket", equal(2, protocol), error=errno.EPROTONOSUPPORT)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise InfrastructureError("libseccomp is not installed on this builder; install it") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    )
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    return library
