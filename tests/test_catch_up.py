"""Catching up: what was pushed while nobody listened is found by the heads of dist-git, and nothing else is run."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import select

from ci_pipeline import audit, dist_git, store
from ci_pipeline.catch_up import CaughtUp, catch_up
from ci_pipeline.dist_git import Heads
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Inbound
from tests.distgit import DistGit
from tests.makers import change, pushed, received

pytestmark = pytest.mark.usefixtures("database")

FILES = {"README": "x"}


@pytest.fixture
def distgit(tmp_path: Path) -> DistGit:
    """A dist-git with one package, greeter, on f26."""
    made = DistGit(tmp_path)
    made.commit("greeter", FILES)
    return made


@pytest.fixture
def settings(current: Settings, distgit: DistGit) -> Settings:
    """Settings that watch greeter and hostinfo in that dist-git."""
    return of(current, distgit.url)


def of(current: Settings, url: str) -> Settings:
    """Return settings with another dist-git."""
    return current.model_copy(update={"dist_git": current.dist_git.model_copy(update={"url": url})})


def head(distgit: DistGit, *, branch: str = "f26") -> str:
    """Return the head of greeter."""
    bare = distgit.folder / "rpms" / "greeter.git"
    command = ["git", "-c", "safe.directory=*", "-C", bare, "rev-parse", branch]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def take_up(settings: Settings, rev: str, **fields: str) -> None:
    """Let the intake take up a push of greeter."""
    Intake(settings, trigger_run_id="x").record([pushed(rev=rev, **fields)])


def messages() -> list[tuple[str, str, str | None]]:
    """Return topic, state and rev of every message, in order."""
    with store.session() as session:
        return [(row.topic, row.state, row.rev) for row in session.scalars(select(Inbound).order_by(Inbound.id))]


def nothing(done: CaughtUp) -> bool:
    """Tell whether nothing was queued, nor could have been."""
    return not done.queued and not done.new


class _Hostile(BaseHTTPRequestHandler):
    """A dist-git that asks for a password, then for everything else."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="\x1b[31mgive"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asks_for_a_password() -> Iterator[str]:
    """The URL of a dist-git that wants a password."""
    with HTTPServer(("127.0.0.1", 0), _Hostile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_dist_git_that_is_away_is_a_problem_of_every_package(current: Settings) -> None:
    """It is said, and nothing is queued or taken for absent."""
    done = catch_up(of(current, "http://127.0.0.1:9"), everything=True)

    assert nothing(done)
    assert done.absent == ()
    assert [problem.partition(":")[0] for problem in done.problems] == ["rpms/greeter", "rpms/hostinfo"]


def test_a_dist_git_that_wants_a_password_is_a_problem(current: Settings, asks_for_a_password: str) -> None:
    """Nobody is there to type it, and what it says cannot steer a terminal."""
    done = catch_up(of(current, asks_for_a_password))

    assert len(done.problems) == 2
    assert all(problem.isprintable() for problem in done.problems)


def test_a_dist_git_that_does_not_answer_is_given_up(current: Settings) -> None:
    """A listener that accepts and says nothing holds up nobody for longer than the limit."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        heads = dist_git.heads_of_all(of(current, f"http://127.0.0.1:{silent.getsockname()[1]}"), timeout=0.5)

    assert heads[0] == Heads("rpms/greeter", problem="rpms/greeter: dist-git did not answer within 0.5 s")


@pytest.mark.parametrize("answer", ["deadbeef", "--upload-pack=x", "0" * 64, "A" * 40, "a" * 40 + "\x1b"])
def test_a_head_that_is_no_revision_is_a_problem(current: Settings, answer: str) -> None:
    """Nothing of it reaches the ledger or a tool."""
    with pytest.raises(dist_git.ChangeError, match="rev is not valid"):
        list(dist_git._read(current, "rpms", "greeter", f"{answer}\trefs/heads/f26\n"))


def test_refs_nobody_asked_for_are_passed_over(current: Settings) -> None:
    """A ref is compared as a whole, and only with those that have a pipeline."""
    lines = ["b" * 40 + "\trefs/heads/x/refs/heads/f26", "c" * 40 + "\trefs/heads/f27", "noise", "\t", "", "\t\t\t"]

    assert list(dist_git._read(current, "rpms", "greeter", "\n".join(lines))) == []


def test_on_an_empty_ledger_nothing_is_run(settings: Settings) -> None:
    """The first start must not build the world."""
    done = catch_up(settings)

    assert messages() == []
    assert [str(change)[:12] for change in done.new] == ["rpms/greeter"]
    assert done.summary == "0 missed and queued, 0 known, new to us: 1 (use --all to run them), 1 not in dist-git yet"


def test_a_package_that_is_not_in_dist_git_yet_is_counted(settings: Settings) -> None:
    """It is watched before it is imported: no error."""
    done = catch_up(settings)

    assert (done.absent, done.problems) == (("rpms/hostinfo",), ())


def test_a_known_head_is_left_alone(settings: Settings, distgit: DistGit) -> None:
    """The bus has lost nothing."""
    take_up(settings, head(distgit))
    done = catch_up(settings, everything=True)

    assert nothing(done)
    assert done.known == 1
    assert len(messages()) == 1


def test_a_head_that_was_run_by_hand_is_known(settings: Settings, distgit: DistGit) -> None:
    """No message speaks of it, but its run does."""
    with store.session() as session:
        runs.create(session, change(rev=head(distgit)), run_id="manual__1")

    assert catch_up(settings, everything=True).known == 1
    assert messages() == []


def test_a_head_only_a_dead_letter_speaks_of_is_not_known(settings: Settings, distgit: DistGit) -> None:
    """What could not be read was never run."""
    take_up(settings, "1" * 40)
    unreadable = {"repo": "greeter", "rev": head(distgit), "x": 1}
    Intake(settings, trigger_run_id="x").record([received(unreadable)])

    assert len(catch_up(settings).queued) == 1


def test_a_missed_push_is_queued_announced_and_waits_to_be_fired(settings: Settings, distgit: DistGit) -> None:
    """As if the bus had brought it, by hand."""
    take_up(settings, head(distgit))
    missed = distgit.commit("greeter", FILES)
    done = catch_up(settings)

    assert done.queued == (change(rev=missed),)
    assert messages()[1] == ("ci-pipeline.catch-up", "queued", missed)

    with store.session() as session:
        waiting = [run.rev for run in runs.not_fired(session)]

    assert waiting == [missed]
    assert audit.audit().findings == ()


def test_of_pushes_missed_in_a_row_the_last_is_run(settings: Settings, distgit: DistGit) -> None:
    """As the intake would have left it."""
    take_up(settings, head(distgit))
    distgit.commit("greeter", FILES)
    last = distgit.commit("greeter", FILES)

    assert catch_up(settings).queued == (change(rev=last),)


def test_catching_up_twice_queues_once(settings: Settings, distgit: DistGit) -> None:
    """It may run at every start."""
    take_up(settings, head(distgit))
    distgit.commit("greeter", FILES)
    catch_up(settings)
    done = catch_up(settings)

    assert (done.queued, done.known) == ((), 1)
    assert len(messages()) == 2


def test_all_runs_what_is_new_too(settings: Settings, distgit: DistGit) -> None:
    """When a pipeline is set up for packages that exist."""
    done = catch_up(settings, everything=True)

    assert done.queued == (change(rev=head(distgit)),)
    assert done.new == ()


def test_a_branch_nothing_was_queued_of_is_new_though_its_package_is_not(settings: Settings, distgit: DistGit) -> None:
    """Branching a distribution is not a push to build."""
    take_up(settings, head(distgit))
    branched = distgit.commit("greeter", FILES, branch="rawhide")

    assert catch_up(settings).new == (change(rev=branched, branch="rawhide"),)


@pytest.mark.parametrize("names", [("master",), ("master", "main"), ("master", "main", "rawhide")])
def test_rawhide_is_what_dist_git_calls_it_today(settings: Settings, distgit: DistGit, names: tuple[str, ...]) -> None:
    """An old name that was left behind is not a push."""
    take_up(settings, "1" * 40, branch="rawhide")
    revs = [distgit.commit("greeter", FILES | {"name": name}, branch=name) for name in names]

    assert catch_up(settings).queued == (change(rev=revs[-1], branch="rawhide"),)


def test_a_push_that_arrives_meanwhile_is_not_superseded_by_the_older_head(
    settings: Settings, distgit: DistGit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dist-git was asked before it: what the bus brings is newer."""
    take_up(settings, "1" * 40)
    ask = dist_git.heads_of_all

    def ask_and_be_overtaken(asked: Settings) -> list[Heads]:
        answer = ask(asked)
        take_up(settings, "2" * 40)
        return answer

    monkeypatch.setattr(dist_git, "heads_of_all", ask_and_be_overtaken)
    done = catch_up(settings)

    assert nothing(done)
    assert done.pushed_meanwhile == 1
    assert [(state, rev) for _, state, rev in messages()] == [("superseded", "1" * 40), ("queued", "2" * 40)]
