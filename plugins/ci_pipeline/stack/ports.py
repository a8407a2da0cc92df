"""Loopback ports of the stack: chosen once, kept, and never taken from a stranger."""

import random
import socket
from collections.abc import Iterable, Mapping

import psutil

from ci_pipeline.errors import StackError

LOOPBACK = "127.0.0.1"
# Below the kernel's range for outgoing connections (32768 and up), so that a kept port is not lent out meanwhile.
_CANDIDATES = range(20000, 32000)


def is_free(port: int) -> bool:
    """Tell whether we could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do: a port whose old connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Tell whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def choose(names: Iterable[str], taken: Iterable[int] = ()) -> dict[str, int]:
    """Choose a free port for each name.

    Args:
        names: what the ports are for.
        taken: ports to leave alone even if nobody listens on them now.
    """
    names = list(names)
    pool = random.SystemRandom().sample(_CANDIDATES, k=len(_CANDIDATES))
    avoid = set(taken)
    free = (port for port in pool if port not in avoid and is_free(port))
    chosen = dict(zip(names, free, strict=False))
    if len(chosen) < len(names):
        msg = f"no free port between {_CANDIDATES[0]} and {_CANDIDATES[-1]} on {LOOPBACK}; stop some servers"
        raise StackError(msg)
    return chosen


def occupied(ports: Mapping[str, int]) -> dict[str, int]:
    """Return those of the ports that are in use."""
    return {name: port for name, port in ports.items() if not is_free(port)}


def explain(occupied_ports: Mapping[str, int]) -> str:
    """Say who is in the way, and what to do about it."""
    who = ", ".join(f"port {port} ({name}) is in use by {_holder(port)}" for name, port in occupied_ports.items())
    return f"{who}; stop that program, or let the stack choose again: ci-pipeline up --new-ports"


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        connections = []
    for connection in connections:
        # An unbound socket has an empty tuple for its address.
        bound = connection.laddr and connection.laddr.port == port
        if bound and connection.status == psutil.CONN_LISTEN and connection.pid:
            return f"process {connection.pid} ({_name(connection.pid)})"
    return "another program"


def _name(pid: int) -> str:
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return "?"
