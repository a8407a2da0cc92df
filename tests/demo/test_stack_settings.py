"""The stack of the demo knows the demo's dist-git, and says so when it cannot."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci_pipeline import stack
from ci_pipeline.errors import StackError

EXTRA = {"CI_PIPELINE_DIST_GIT__URL": "file:///nowhere"}


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder; what runs there is stopped. Not pytest's: PostgreSQL's account has to get through."""
    folder = Path(tempfile.mkdtemp(prefix="ci-pipeline-extra-"))
    yield folder / "s"
    stack.down(state=folder / "s")
    shutil.rmtree(folder)


def test_a_running_stack_without_the_setting_is_not_used(servers: stack.UpResult) -> None:
    """Its components would fetch the packages elsewhere; the user is told to restart it."""
    with pytest.raises(StackError, match=r"CI_PIPELINE_DIST_GIT__URL .* `ci-pipeline down`"):
        stack.up(state=servers.state, wanted=("artifacts",), extra_env=EXTRA)


def test_a_setting_stays_until_it_is_changed(state: Path) -> None:
    """A plain `up` after the demo's keeps the demo's dist-git, in stack.env and for the components."""
    stack.up(state=state, wanted=("artifacts",), extra_env=EXTRA)
    stack.down(state=state)
    result = stack.up(state=state, wanted=("artifacts",))

    assert EXTRA.items() <= result.variables.items()
    assert "CI_PIPELINE_DIST_GIT__URL='file:///nowhere'" in (state / "stack.env").read_text()
