"""Waiting for a cluster: one that is ready, one that is late, one that never comes. kubectl is a stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.stand_ins import items

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.playbooks.stage_runs import RunStage

    Look = Callable[..., dict[str, Any]]


@pytest.fixture
def look(run_stage: RunStage, tmp_path: Path) -> Look:
    """Return a function that looks at the cluster once, as each of the stage's playbook runs does."""
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    (cluster / "kubeconfig").write_text("apiVersion: v1\n", encoding="ascii")

    def once(**request: Any) -> dict[str, Any]:
        wanted = {"ready_seconds": 30, "look_seconds": 15, "cluster_dir": str(cluster)}
        return run_stage("await_cluster", workspace=tmp_path / "await_cluster-1", **(wanted | request))

    return once


def test_a_cluster_that_is_gone_is_the_infrastructures_fault(look: Look, tmp_path: Path) -> None:
    """What to clear is said."""
    (tmp_path / "cluster" / "kubeconfig").unlink()
    result = look()

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"].endswith("is gone; clear configure_cluster")


def test_a_ready_clusters_version_is_recorded(look: Look, kubectl: Path) -> None:
    """The first look is enough."""
    result = look()

    assert (result["status"], result["again_in"]) == ("SUCCESS", 0)
    assert result["outputs"] == {"cluster_version": "v1.30.2"}


def test_a_cluster_may_be_taken_as_it_is(look: Look, kubectl: Path) -> None:
    """Nobody asks it anything."""
    (kubectl / "ready").unlink()

    assert look(ready_seconds=0)["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("name", "content", "missing"),
    [
        ("ready", None, "the API server is not ready: connection refused"),
        ("nodes", '{"items": []}', "there is no node"),
        ("nodes", items(one=("Ready", "True"), two=("Ready", "Unknown")), "1 of 2 nodes are not Ready: two"),
        ("nodes", items(one=("MemoryPressure", "True")), "1 of 1 nodes are not Ready: one"),
        ("nodes", "<html>", "kubectl get nodes answered nonsense"),
        (
            "deployments",
            items(coredns=("Available", "False")),
            "1 of 1 deployments in kube-system are not available",
        ),
    ],
)
def test_a_cluster_that_is_not_ready_in_time_is_the_infrastructures_fault(
    look: Look, kubectl: Path, name: str, content: str | None, missing: str
) -> None:
    """What is missing is said; what the cluster says of itself is kept."""
    if content is None:
        (kubectl / name).unlink()
    else:
        (kubectl / name).write_text(content, encoding="ascii")
    result = look(ready_seconds=0.2)

    assert (result["status"], result["fault"], result["again_in"]) == ("FAILURE", "infrastructure", 0)
    assert result["reason"].startswith("the cluster is not ready after 0 s: ")
    assert missing in result["reason"]
    assert [artifact["name"] for artifact in result["artifacts"]] == ["cluster.log"]


def test_a_cluster_that_is_late_is_looked_at_again(look: Look, kubectl: Path, tmp_path: Path) -> None:
    """No playbook waits for it; the log of the task says what is missing meanwhile."""
    (kubectl / "nodes").write_text('{"items": []}', encoding="ascii")
    first = look()
    (kubectl / "nodes").write_text(items(one=("Ready", "True")), encoding="ascii")
    second = look()

    assert (first["status"], first["again_in"], first["outputs"]) == ("SUCCESS", 15, {})
    assert (tmp_path / "await_cluster-1" / "progress").read_text(
        encoding="ascii"
    ) == "not ready yet: there is no node\n"
    assert (second["again_in"], second["outputs"]["cluster_version"]) == (0, "v1.30.2")


def test_the_time_counts_from_the_first_look(look: Look, kubectl: Path, tmp_path: Path) -> None:
    """However many there are, it is bounded."""
    (kubectl / "ready").unlink()
    look()
    begun = tmp_path / "await_cluster-1" / "begun"
    begun.write_text(str(float(begun.read_text(encoding="ascii")) - 60), encoding="ascii")

    assert look()["reason"].startswith("the cluster is not ready after 30 s: the API server is not ready")
