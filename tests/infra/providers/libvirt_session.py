"""A program: has the module libvirt_hosts do what its arguments say, as whoever runs it, and prints what it returns.

libvirt's sessions are of accounts without privileges: tests that run as root run it as another one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ansible.module_utils

_PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
ansible.module_utils.__path__.append(str(_PLAYBOOKS / "module_utils"))
sys.path.insert(0, str(_PLAYBOOKS / "library"))


def main(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Begin the lease of the first call, and do all of them."""
    import begin_lease  # noqa: PLC0415 - found only now
    import libvirt_hosts  # noqa: PLC0415 - the same

    done = []
    for call in calls:
        if call["state"] == "present":
            asked = {"provider": "libvirt", "hosts_count": call["hosts_wanted"], "arch": "x86_64", "lent_until": 4e9}
            begin_lease.begin({"lease": call["lease"], "folder": call["folder"], **asked})
        done.append(libvirt_hosts.work(call))
    return done


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))  # noqa: T201 - what it is for
