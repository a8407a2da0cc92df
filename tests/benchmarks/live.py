"""The whole pipeline on a stack of the benchmarks' own: pushes to it, and what a listener hears of them."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci_pipeline import settings, stack, store
from ci_pipeline.cli.bring_up import bring_up
from ci_pipeline.settings import Settings
from tests.benchmarks.servers import environment
from tests.benchmarks.storm import RECORDED, TOPIC
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus

PACKAGES: Final = ("greeter", "hostinfo", "clock", "counter")
BRANCHES: Final = ("f26", "rawhide")
# Its spec cannot be read: its runs end as soon as they have begun to build.
BROKEN: Final = "broken"
# An image is due with every change; a cluster is no part of what is measured.
_CHANGED: Final = {
    r"(?m)^monitored = .*$": f"monitored = {json.dumps([*PACKAGES, BROKEN])}",
    r"(?m)^interval_hours = .*$": "interval_hours = 0",
    r"(?ms)^\[conformance\]\n.*?(?=^# What must)": '[conformance]\nwhen = "never"\n\n',
    r"(?ms)^\[package.hostinfo\]\n.*?(?=^\[)": "",
}


@dataclass(frozen=True, slots=True)
class Pushed:
    """A change that was pushed, and when (`time.monotonic`)."""

    repo: str
    rev: str
    branch: str
    at: float


@dataclass(frozen=True, slots=True)
class Live:
    """A pipeline that listens, and its dist-git."""

    settings: Settings
    distgit: DistGit
    bus: Bus

    def push(self, repo: str, version: str, branch: str = "f26") -> Pushed:
        """Commit a version of a package that builds, and announce it."""
        return self.announce(repo, self.distgit.commit(repo, package(repo, version), branch=branch), branch)

    def push_broken(self, version: str) -> Pushed:
        """Commit what cannot be built, and announce it."""
        files = {f"{BROKEN}.spec": "Name: %{", "README": version}
        return self.announce(BROKEN, self.distgit.commit(BROKEN, files), "f26")

    def announce(self, repo: str, rev: str, branch: str) -> Pushed:
        """Announce a push in the form that was recorded on Fedora's bus."""
        message = json.loads(RECORDED.read_text(encoding="utf-8"))
        path = f"/srv/git/repositories/rpms/{repo}.git"
        message["msg"]["commit"] |= {"repo": repo, "rev": rev, "branch": branch, "path": path}
        pushed = Pushed(repo, rev, branch, time.monotonic())
        self.bus.publish(TOPIC, json.dumps(message).encode())
        return pushed

    def seconds_to(self, event: str, pushed: Pushed) -> float:
        """Return the seconds from a push to an event of its run, as a listener hears it."""
        self.bus.wait_for(event, pushed.rev, seconds=1800)
        return time.monotonic() - pushed.at

    def seconds_of(self, pushed: Pushed) -> float:
        """Return the seconds from a push to the good end of its run.

        Raises:
            AssertionError: it ended badly: that is no time to compare.
        """
        seconds = self.seconds_to("complete", pushed)
        ends = [one["body"]["status"] for one in self.bus.of(pushed.rev) if one["topic"].endswith("pipeline.complete")]
        assert ends == ["SUCCESS"], f"{pushed}: {ends}"
        return seconds


@contextlib.contextmanager
def live(state: Path) -> Iterator[Live]:
    """Bring a whole pipeline up in an empty state folder; end it."""
    folder = state.with_name("dist-git")
    folder.mkdir()
    state.mkdir()
    distgit = DistGit(folder)
    (state / "pipeline.toml").write_text(_configured(settings.config_file().read_text(encoding="utf-8")))
    chosen = {settings.STATE_VARIABLE: str(state), settings.CONFIG_VARIABLE: str(state / "pipeline.toml")}
    with environment(chosen):
        try:
            # What is committed for a yardstick is nothing that was missed.
            chosen = {"CI_PIPELINE_DIST_GIT__URL": distgit.url, "CI_PIPELINE_DIST_GIT__CATCH_UP": "false"}
            bring_up(extra_env={**chosen, "CI_PIPELINE_STORM__CHANGES": "1000000"})
            current = settings.load()
            with contextlib.closing(Bus(current.bus.url.get_secret_value())) as bus:
                yield Live(current, distgit, bus)
        finally:
            store.let_go()
            stack.down(state=state)


def _configured(text: str) -> str:
    for pattern, wanted in _CHANGED.items():
        text, found = re.subn(pattern, wanted, text)
        assert found == 1, pattern
    return text
