"""What installers are made of, and what they leave: fetched, checked by checksum, and taken for nothing it is not."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.cluster.cluster_runs import KUBECONFIG
from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = "a binary"
DIGEST = hashlib.sha256(CONTENT.encode()).hexdigest()


def get(cache: Path, source: str, sha256: str = DIGEST, *, needed: bool = True) -> str:
    """Have a file fetched and return its path."""
    given = {"what": "k3s", "source": source, "sha256": sha256, "sha256_needed": needed}
    return str(module("fetch_file").get(given | {"cache": str(cache), "seconds": 10.0})["path"])


@pytest.mark.parametrize(
    ("source", "sha256", "reason"),
    [
        ("/nonexistent/k3s", DIGEST, "k3s is not there: /nonexistent/k3s does not exist on this builder"),
        ("/nonexistent/k3s", "", "k3s needs a sha256 of 64 hex digits in pipeline.toml, not ''"),
        ("/nonexistent/k3s", "../../etc/passwd", "k3s needs a sha256 of 64 hex digits"),
        ("http://127.0.0.1:9/k3s", DIGEST, "k3s cannot be fetched from http://127.0.0.1:9/k3s: "),
    ],
)
def test_a_file_that_cannot_be_had_is_named(tmp_path: Path, source: str, sha256: str, reason: str) -> None:
    """A missing file, a missing checksum and a server that is away are told apart."""
    with pytest.raises(InfrastructureError) as caught:
        get(tmp_path, source, sha256)

    assert str(caught.value).startswith(reason)


def test_a_path_may_come_without_a_checksum_and_a_url_never(tmp_path: Path) -> None:
    """Where it is not needed."""
    (tmp_path / "network.yaml").touch()

    assert get(tmp_path, f"{tmp_path}/network.yaml", "", needed=False) == f"{tmp_path}/network.yaml"
    with pytest.raises(InfrastructureError, match="needs a sha256"):
        get(tmp_path, "https://example.com/network.yaml", "", needed=False)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server with the files of a folder: its URL, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *args: Any) -> None:
            asked.append(str(args[0]))

    (tmp_path / "www").mkdir()
    handler = functools.partial(Handler, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_file_is_fetched_once(serve: tuple[str, list[str]], tmp_path: Path) -> None:
    """What was refused is not kept; what is in the cache is checked again."""
    url, asked = serve
    other = hashlib.sha256(b"another").hexdigest()
    (tmp_path / "www" / "k3s").write_text("another", encoding="ascii")
    with pytest.raises(InfrastructureError, match=f"k3s from {url}/k3s has sha256 {other} instead of {DIGEST}"):
        get(tmp_path, f"{url}/k3s")
    (tmp_path / "www" / "k3s").write_text(CONTENT, encoding="ascii")
    kept = {get(tmp_path, f"{url}/k3s"), get(tmp_path, f"{url}/k3s")}

    assert kept == {str(tmp_path / "downloads" / DIGEST)}
    assert len(asked) == 2

    (tmp_path / "downloads" / DIGEST).write_text("another", encoding="ascii")
    with pytest.raises(InfrastructureError, match=other):
        get(tmp_path, f"{url}/k3s")
    assert get(tmp_path, f"{url}/k3s") in kept


@pytest.mark.parametrize(
    ("source", "release", "reason"),
    [
        ("/nonexistent", "v1", "the installer's checkout /nonexistent does not exist on this builder"),
        ("--upload-pack=id", "v1", "'--upload-pack=id' is neither a folder nor the URL of a git repository"),
        ("ext::sh -c id", "v1", "'ext::sh -c id' is neither a folder nor the URL of a git repository"),
        ("", "v1", "'' is neither a folder nor the URL of a git repository"),
        ("file:///no.git", "v1", "v1 of file:///no.git cannot be cloned: "),
        ("file:///no.git", "", "the release of file:///no.git has to be pinned to a tag or branch, not ''"),
        ("file:///no.git", "--exec=id", "the release of file:///no.git has to be pinned to a tag or branch"),
    ],
)
def test_playbooks_that_cannot_be_had_are_named(tmp_path: Path, source: str, release: str, reason: str) -> None:
    """A checkout and a repository that are not there, and what is no repository at all."""
    given = {"source": source, "release": release, "folder": str(tmp_path / "clone"), "seconds": 10.0}
    with pytest.raises(InfrastructureError) as caught:
        module("fetch_installer").fetch(given)

    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    "content", ["apiVersion: v1\nclusters: []\n", "clusters:\nusers:\n- name: a\n", '{"clusters": []}', "[", "{", ""]
)
def test_what_is_no_kubeconfig_is_not_taken_for_one(tmp_path: Path, content: str) -> None:
    """The next stage gets a file that names a cluster, or none at all; what is in it is never said."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(content, encoding="ascii")
    with pytest.raises(InfrastructureError) as caught:
        module("check_kubeconfig").check({"cluster_dir": str(tmp_path), "cluster": "k3s"})

    assert str(caught.value) == f"what k3s left in {kubeconfig} is no kubeconfig: it names no cluster"


@pytest.mark.parametrize("content", [KUBECONFIG, '{"clusters": [{"cluster": {"server": "https://127.0.0.1"}}]}'])
def test_a_kubeconfig_is_for_our_account_alone(tmp_path: Path, content: str) -> None:
    """In YAML or in JSON; there has to be one."""
    check: Any = module("check_kubeconfig").check
    kubeconfig = tmp_path / "kubeconfig"
    given = {"cluster_dir": str(tmp_path), "cluster": "k3s"}
    with pytest.raises(InfrastructureError, match="k3s left no kubeconfig"):
        check(given)
    kubeconfig.write_text(content, encoding="ascii")
    kubeconfig.chmod(0o640)
    with pytest.raises(InfrastructureError, match="open to other accounts"):
        check(given)
    kubeconfig.chmod(0o600)

    assert check(given) == {}
