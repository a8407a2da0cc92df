"""The fixtures of the builders' tests, and of a branch with a host."""

from tests.builders.conftest import configured, controller, dist_git, hosts, new_try, source
from tests.operators.conftest import context, published
from tests.playbooks.conftest import run_stage
from tests.playbooks.host.conftest import branch, build_candidate, host_folder, new_branch

__all__ = ["branch", "build_candidate", "configured", "context", "controller", "dist_git", "host_folder", "hosts"]
__all__ += ["new_branch", "new_try", "published", "run_stage", "source"]
