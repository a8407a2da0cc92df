"""The stage that installs a cluster, where there is one already: its kubeconfig is all there is to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.playbooks.cluster.cluster_runs import KUBECONFIG, failed, server_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playbooks.cluster.cluster_runs import Configure


def test_a_kubeconfig_that_is_missing_is_named(configure: Configure, cluster_dir: Path) -> None:
    """A cluster that is there already needs its kubeconfig."""
    reason = failed(configure("existing", kubeconfig="/nonexistent/kubeconfig"))

    assert reason == "the kubeconfig /nonexistent/kubeconfig does not exist"


def test_what_is_no_kubeconfig_is_not_taken_for_one(configure: Configure, tmp_path: Path, cluster_dir: Path) -> None:
    """The next stage gets a file that names a cluster, or none at all."""
    (tmp_path / "given").write_text("<html>", encoding="ascii")
    reason = failed(configure("existing", kubeconfig=str(tmp_path / "given")))

    assert reason == f"what existing left in {cluster_dir}/kubeconfig is no kubeconfig: it names no cluster"


def test_the_kubeconfig_of_a_cluster_that_is_there_is_copied(configure: Configure, tmp_path: Path) -> None:
    """Its folder is made, for our account alone; nothing was installed."""
    (tmp_path / "given").write_text(KUBECONFIG, encoding="ascii")
    folder = tmp_path / "run" / "cluster"
    result = configure("existing", kubeconfig=str(tmp_path / "given"), cluster_dir=str(folder))

    assert (result["status"], result["outputs"]) == ("SUCCESS", {"cluster_versions": {}})
    assert (folder / "kubeconfig").read_text(encoding="ascii") == KUBECONFIG
    assert folder.stat().st_mode & 0o777 == 0o700
    assert server_of(folder) == "https://10.0.2.15:6443"
