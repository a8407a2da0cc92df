"""Ways out of a sandbox, each a shell command that succeeds only where nothing holds it back.

One table for all places package code runs in: a macro of a spec, a build, a test, a scriptlet. A new way is a new line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# What stands in braces is the builder's: see `Builder.places`.
READ: Final = {
    "password hashes": "cat /etc/shadow",
    "home of root": "cat /root/.bashrc /root/.profile | grep .",
    "state folder": "cat {state}/secret",
    "SSH key": "cat {state}/id_ed25519",
    "checkout": "cat {checkout}/pyproject.toml",
    "packages of another run": "cat {artifacts}/packages/another/secret.txt",
    "workspace of another run": "cat {state}/runs/another/result.json",
    "root of the worker": "cat /proc/{worker}/root{state}/secret",
    "environment of the worker": "cat /proc/*/environ | tr '\\0' '\\n' | grep WORKER_SECRET",
    "processes": "test -d /proc/{worker}",
    "devices": "ls /dev/mem /dev/kmsg /dev/kvm /dev/disk | grep .",
}
WRITE: Final = {
    "state folder, to write": "echo got out > {state}/written",
    "artifacts": "mkdir {artifacts}/packages/written",
    "results of all": "for one in {state}/runs/*/; do echo got out > $one/result.json || exit 1; done",
    # With core_pattern the kernel runs any program, as root and outside; this one is harmless.
    "kernel settings": 'was=$(cat /proc/sys/vm/swappiness) && echo "$was" > /proc/sys/vm/swappiness',
}
CONNECT: Final = {
    "TCP": "python3 -c \"import socket; socket.create_connection(('127.0.0.1', {tcp}), 3)\"",
    # The second word is refused where nobody heard the first.
    "UDP, as of a name server": (
        'python3 -c "import socket, time; one = socket.socket(type=socket.SOCK_DGRAM); '
        "one.connect(('127.0.0.1', {udp})); one.send(b'x'); time.sleep(.2); one.send(b'x')\""
    ),
    "Unix socket": "python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('{unix}')\"",
    "abstract socket": "python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + '{abstract}')\"",
    "raw packets": 'python3 -c "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"',
}
POWER: Final = {
    "capabilities": "grep CapEff /proc/self/status | grep '[1-9a-f]$'",
    "gain by a setuid program": "grep 'NoNewPrivs:.0' /proc/self/status",
    "user root": 'python3 -c "import os; os.setuid(0)"',
    "device node": "mknod node c 1 5 && head -c 1 node",
    "chroot": "chroot / true",
    "mount": "mkdir mounted && mount -t tmpfs none mounted && umount mounted",
    "host name": 'hostname "$(hostname)"',
}
# What cannot be tried where nothing holds it back: it would stay, or not every machine has it.
LASTING: Final = {
    "root of the first process": "cat /proc/1/root{state}/secret",
    "system folder": "touch /usr/was-here",
    "accounts": "echo evil::0:0::/:/bin/sh >> /etc/passwd",
    "services of the builder": "ls /run/dbus/system_bus_socket /run/docker.sock /run/systemd | grep .",
    "kernel module": "modprobe dummy",
}
ALL: Final = READ | WRITE | CONNECT | POWER | LASTING
# A scriptlet is root without most of its powers: rpm has to give files to their owners, and to change the root.
OF_ROOT: Final = {
    name: way
    for name, way in ALL.items()
    if name not in {"capabilities", "gain by a setuid program", "user root", "chroot"}
}
# In the tree it installs, the files of the system are the tree's.
OF_SCRIPTLET: Final = {
    name: way for name, way in OF_ROOT.items() if name not in {"password hashes", "system folder", "accounts"}
}
_SCRIPT: Final = """\
#!/bin/sh
# Tries all ways out, and says in one line which led anywhere, and to what.
cd "$(mktemp -d)" || exit 1
unset out tried
try() {{
    tried=$((tried + 1))
    said=$(timeout 10 sh -c "$2" 2>&1) && out="$out$1: $(echo $said | head -c 60); "
}}
{tries}
echo "${{out:-nothing }}got out in $tried ways"
"""


def script(ways: Mapping[str, str], places: Mapping[str, object]) -> str:
    """Return a shell script that tries these ways, and prints `nothing got out in 9 ways` if none is one."""
    tries = (f"try {_quoted(name)} {_quoted(filled(way, places))}" for name, way in ways.items())
    return _SCRIPT.format(tries="\n".join(tries))


def nothing(ways: Mapping[str, str]) -> str:
    """Return what the script prints where none of these led out."""
    return f"nothing got out in {len(ways)} ways"


def filled(way: str, places: Mapping[str, object]) -> str:
    """Return a text with the builder's places in it."""
    for name, place in places.items():
        way = way.replace(f"{{{name}}}", str(place))
    return way


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
