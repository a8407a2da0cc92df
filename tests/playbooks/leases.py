"""For tests of leases of hosts: what the two playbooks are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def lease_request(folder: Path, provider: str, *, hosts: int = 1, until: float = 4e9, **section: Any) -> dict[str, Any]:
    """Return the request of a lease in a folder, which has its name; `section` is the provider's."""
    return {
        "provision_lease": folder.name,
        "provision_dir": str(folder),
        "provision_hosts_count": hosts,
        "provision_arch": "x86_64",
        "provision_until": until,
        "provision_key": str(folder / "key"),
        "provision": {"provider": provider, "hours": 6, "patience_seconds": 5, provider: section},
    }
