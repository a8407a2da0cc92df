"""A provider that is away when hosts are to be returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci_pipeline import provisioning
from ci_pipeline.provisioning import Lender
from tests.lending import KEY
from tests.test_provisioning import STAGE, lease_of, lost_a_while_ago, run, use_provider

if TYPE_CHECKING:
    from pathlib import Path

    from ci_pipeline.store.tables import Run
    from tests.test_provisioning import UseProvider

__all__ = ["run", "use_provider"]
pytestmark = pytest.mark.usefixtures("database")


def test_what_cannot_be_returned_stays_a_lease(run: Run, use_provider: UseProvider, tmp_path: Path) -> None:
    """With the reason, without its secrets; once the provider is back, the reconciler returns it."""
    with Lender(use_provider("stuck")).lent(run, STAGE, 1, count=1):
        pass
    stuck = lease_of(run)
    lost_a_while_ago(run)
    still = provisioning.return_leaked(use_provider("stuck"))
    returned = provisioning.return_leaked(use_provider("fine"))

    assert (stuck.returned_at, still) == (None, [])
    assert stuck.trouble == "the provider is away, key ***"
    assert KEY not in stuck.trouble
    assert [who for who, _ in returned] == [run.run_id]
    assert "it was nobody's" in returned[0][1]
    assert list((tmp_path / "provider").iterdir()) == []
    assert (lease_of(run).trouble, lease_of(run).returned_at is None) == ("", False)
