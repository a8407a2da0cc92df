"""A branch of dist-git built for several architectures: a branch of the pipeline for each, and one push for all."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import select

from ci_pipeline import audit, dead_letters, requests, revisions, settings, store
from ci_pipeline.builders import turns
from ci_pipeline.builders.inventory import Builder
from ci_pipeline.catch_up import catch_up
from ci_pipeline.conf import Conf
from ci_pipeline.errors import BuilderError, SettingsError
from ci_pipeline.intake import Intake
from ci_pipeline.revisions import Named
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import runs
from ci_pipeline.store.builder_leases import Ticket
from ci_pipeline.store.ledger import Received
from ci_pipeline.store.tables import Inbound, Outbox, Run
from tests.distgit import DistGit
from tests.makers import REV, change, new_run, pushed, received

pytestmark = pytest.mark.usefixtures("database")

ARM = "f26-aarch64"


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """Settings with f26 for two architectures."""
    section = {"release": "26", "dist": ".fc26", "arch": "aarch64", "dist_git_branch": "f26"}
    monkeypatch.setenv("CI_PIPELINE_BRANCHES", json.dumps({ARM: section}))
    settings.current.cache_clear()
    return settings.current()


def take_up(configured: settings.Settings, *messages: Received) -> list[tuple[str | None, str]]:
    """Let the intake take up messages; return branch and state of every row of the ledger."""
    Intake(configured, trigger_run_id="x").record(messages)
    with store.session() as session:
        return [(row.branch, row.state) for row in session.scalars(select(Inbound).order_by(Inbound.id))]


def test_two_branches_of_one_ref_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would promote over each other."""
    section = {"release": "26", "dist": ".fc26", "dist_git_branch": "f26"}
    monkeypatch.setenv("CI_PIPELINE_BRANCHES", json.dumps({"other": section}))

    with pytest.raises(SettingsError, match="two of them compose fedora/f26/x86_64/atomic-host; give them different"):
        settings.load()


def test_a_branch_has_a_ref_and_a_product_of_its_architecture(both: settings.Settings) -> None:
    """What there was before keeps its own."""
    assert [both.ref_of(name) for name in ("f26", ARM)] == [
        "fedora/f26/x86_64/atomic-host",
        "fedora/f26/aarch64/atomic-host",
    ]
    assert [both.product_of(name) for name in ("f26", ARM)] == ["fedora-26", "fedora-26-aarch64"]


def test_a_push_makes_a_run_for_each_architecture(both: settings.Settings) -> None:
    """With a number and a place of its own; what is announced says which it is, and all is accounted for."""
    rows = take_up(both, pushed("greeter"))
    with store.session() as session:
        made = {(run.dag_id, run.number) for run in session.scalars(select(Run))}
        said = {(body["branch"], body["ref"]) for body in session.scalars(select(Outbox.body))}

    assert rows == [("f26", "queued"), (ARM, "queued")]
    assert made == {("ci-pipeline-f26", 1), (f"ci-pipeline-{ARM}", 1)}
    assert said == {("f26", "fedora/f26/x86_64/atomic-host"), (ARM, "fedora/f26/aarch64/atomic-host")}
    assert not [finding for finding in audit.audit().findings if finding.check != "waiting too long"]


def test_the_same_push_again_is_a_duplicate_for_each(both: settings.Settings) -> None:
    """The bus repeats messages."""
    take_up(both, pushed("greeter"))

    assert take_up(both, pushed("greeter"))[2:] == [("f26", "duplicate"), (ARM, "duplicate")]


def test_what_is_not_watched_is_ignored_once(both: settings.Settings) -> None:
    """However many branches would build it."""
    assert take_up(both, pushed("polari")) == [("f26", "ignored")]


def test_other_branches_are_as_before(both: settings.Settings) -> None:
    """One message, one row."""
    assert take_up(both, pushed("greeter", branch="rawhide")) == [("rawhide", "queued")]


def test_a_branch_that_is_built_for_another_architecture_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The push is that branch's."""
    section = {"release": "27", "dist": ".fc27", "arch": "aarch64", "dist_git_branch": "f27"}
    monkeypatch.setenv("CI_PIPELINE_BRANCHES", json.dumps({"f27-arm": section}))

    assert take_up(settings.load(), pushed("greeter", branch="f27")) == [("f27-arm", "queued")]


def test_a_dead_letter_that_can_be_read_now_is_taken_up_by_all(both: settings.Settings) -> None:
    """As if it had just arrived."""
    take_up(both, received(b"{"))
    raw = pushed("greeter").raw
    with store.session() as session:
        row = session.scalars(select(Inbound)).one()
        # What the reader of today understands.
        row.body, row.digest = raw.decode(), sha256(raw).hexdigest()
        letter = str(row.id)
    dead_letters.replay(both, letter)

    assert take_up(both) == [("f26", "queued"), (ARM, "queued")]


def test_a_missed_push_is_caught_up_with_once_for_each(both: settings.Settings, tmp_path: Path) -> None:
    """Not a second time because both branches have the same head."""
    distgit = DistGit(tmp_path)
    distgit.commit("greeter", {"README": "1"})
    configured = both.model_copy(update={"dist_git": both.dist_git.model_copy(update={"url": distgit.url})})
    catch_up(configured, everything=True)
    missed = distgit.commit("greeter", {"README": "2"})
    done = catch_up(configured)

    assert set(done.queued) == {change(rev=missed), change(rev=missed, branch=ARM)}
    assert [state for _, state in take_up(configured)] == ["superseded", "superseded", "queued", "queued"]


def test_a_stage_is_asked_for_its_branchs_architecture(both: settings.Settings, tmp_path: Path) -> None:
    """And for the branch of dist-git its revision has to be on."""
    run = new_run(branch=ARM)
    with store.session() as session:
        request = requests.make(session, both, runs.locked(session, run.id), BUILD_PACKAGE, workspace=tmp_path)

    assert (request["arch"], request["dist_git_branch"], request["branch"]) == ("aarch64", "f26", ARM)
    assert str(request["ostree_repo"]).endswith(f"fedora-atomic/{ARM}/ostree")
    assert request["ref"] == "fedora/f26/aarch64/atomic-host"


def test_a_stage_goes_to_a_builder_of_its_branchs_architecture(both: settings.Settings) -> None:
    """To none of another; where there is none, that is said."""
    one, other = (
        Builder.model_validate(
            {"name": name, "ansible_host": "10.0.0.1", "builder_folder": "/srv/ci", "builder_arch": arch}
        )
        for name, arch in (("intel", "x86_64"), ("arm", "aarch64"))
    )
    ticket = Ticket(run=new_run(branch=ARM).id, stage=BUILD_PACKAGE.name, try_number=1)
    with store.session() as session:
        turn = turns.ask(session, both, [one, other], ticket)
    second = Ticket(run=new_run(branch=ARM).id, stage=BUILD_PACKAGE.name, try_number=1)

    assert turn.builder is other
    with store.session() as session, pytest.raises(BuilderError, match="no builder of the inventory is aarch64"):
        turns.ask(session, both, [one], second)


def test_a_revision_is_looked_up_where_it_was_pushed(both: settings.Settings, tmp_path: Path) -> None:
    """By its first digits, on the branch of dist-git; the change is of the branch that was asked for."""
    distgit = DistGit(tmp_path)
    rev = distgit.commit("greeter", {"README": "1"})
    configured = both.model_copy(update={"dist_git": both.dist_git.model_copy(update={"url": distgit.url})})

    assert revisions.resolve(configured, Named("rpms", "greeter", ARM, rev[:9])) == change(rev=rev, branch=ARM)


def test_a_message_of_the_push_starts_any_of_its_branches(both: settings.Settings) -> None:
    """Pasted into the dialog of each."""
    conf = Conf.parse({"message": {"namespace": "rpms", "repo": "greeter", "rev": REV, "branch": "f26"}})

    assert conf.named(both, branch=ARM).branch == ARM
