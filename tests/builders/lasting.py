"""A build that lasts some seconds, and something that happens meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.builders.hosts import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.builders.hosts import SshdHost

LASTING = "sleep 4"
ENDLESS = "sleep 300"


def during(host: SshdHost, carry_out: Callable[[], Any], happens: Callable[[], None]) -> Any:
    """Carry a stage out, and have something happen while its build is under way."""
    with ThreadPoolExecutor() as pool:
        report = pool.submit(carry_out)
        try:
            wait_until(lambda: is_building(host) or report.done())
        finally:
            happens()
        return report.result()


def is_building(host: SshdHost) -> bool:
    """Tell whether a host is in the middle of a build."""
    return bool(host.processes(LASTING) or host.processes(ENDLESS))


def is_idle(host: SshdHost) -> bool:
    """Tell whether nothing of a build runs on a host."""
    return not host.processes("rpmbuild") and not is_building(host)
