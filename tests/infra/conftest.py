"""The builders' fixtures."""

from tests.builders.conftest import configured, controller, dist_git, hosts, new_try, source

__all__ = ["configured", "controller", "dist_git", "hosts", "new_try", "source"]
