"""Keep Python's garbage collector from what Ansible has loaded by the time a playbook starts.

All of it stays until the end, and each task forks: unfrozen, the collector touches its pages in every worker, and goes
through it again and again while Ansible ends, which is an eighth of what a short playbook takes.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from ansible.plugins.callback import CallbackBase

if TYPE_CHECKING:
    from ansible.playbook import Playbook


class CallbackModule(CallbackBase):
    """Is asked for by lying here."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "freeze"

    def v2_playbook_on_start(self, playbook: Playbook) -> None:  # noqa: ARG002 - the signature is Ansible's
        """Freeze."""
        gc.freeze()
