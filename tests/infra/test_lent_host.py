"""The integration tests on a host of a provider: a machine that boots an older compose is put on the newer one.

The machine is a pool's stock host in small: it has ostree, a network, and a boot loader that follows ostree's entries.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.host.branches import LIMITS
from tests.playbooks.host.test_integration_tests import ATOMIC
from tests.playbooks.host.test_provision_hosts import machines
from tests.playbooks.leases import lease_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.playbooks.host.branches import Branch, BuildCandidate
    from tests.playbooks.stage_runs import RunStage

pytestmark = pytest.mark.timeout(1200)
# As Fedora's GRUB goes by the entries that ostree writes, this machine's goes by the first of them.
OSTREE = """\
#!/bin/sh
/usr/lib/pool/ostree "$@" || exit
case "$1 $2" in "admin deploy")
  entry=$(ls /sysroot/boot/loader/entries/*.conf | sort -r | head -n 1)
  {
    echo 'set root=(hd0,msdos1)'
    sed -n 's,^linux /*,linux /,p' $entry | sed "s,$, $(sed -n 's/^options //p' $entry),"
    sed -n 's,^initrd /*,initrd /,p' $entry
    echo boot
  } | sed -e 's, /ostree/, /boot/ostree/,' >/sysroot/boot/grub/grub.cfg
  sync
esac
"""
WRAPPER = """\
#!/bin/sh
LD_LIBRARY_PATH=/usr/lib/pool/lib exec /usr/lib/pool/ostree.bin "$@"
"""


@pytest.fixture
def served(branch: Branch) -> Iterator[str]:
    """Serve the branch's repository over HTTP; return its address as the machine sees it."""
    with serving(branch.ostree) as address:
        yield address


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP for the block; yield its address as a machine in a user network sees it."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://10.0.2.2:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def pool_host(
    branch: Branch, build_candidate: BuildCandidate, run_stage: RunStage, tmp_path: Path
) -> Iterator[dict[str, Any]]:
    """Lend a machine that boots a compose with ostree in it."""
    composed = branch.compose(_with_ostree(build_candidate, tmp_path), build_id=7)
    assert composed["status"] == "SUCCESS", composed["reason"]
    made = {"compose_rev": composed["outputs"]["compose_rev"], "version": "26.7", "image_dir": str(tmp_path / "images")}
    image = branch.stage("generate_image", **made)
    assert image["status"] == "SUCCESS", image["reason"]
    disk = tmp_path / "images" / image["outputs"]["image_name"]
    folder = tmp_path / "leases" / "ci-pool"
    request = lease_request(folder, "qemu")
    lent = run_stage("provision", **request, provision_disk=str(disk), limits=LIMITS, provider_qemu_internet=True)
    assert lent["status"] == "SUCCESS", lent["reason"]
    yield lent["outputs"]["hosts"][0]
    run_stage("teardown", **request)
    assert not machines(folder)


def _with_ostree(build_candidate: BuildCandidate, tmp_path: Path) -> Path:
    """Return hello 1.0.1 with this machine's ostree, and what it is linked with, in it."""
    linked = subprocess.run(["ldd", "/usr/bin/ostree"], check=True, capture_output=True, text=True).stdout
    libraries = [
        word for word in linked.split() if word.startswith("/") and "libc.so" not in word and "/ld-" not in word
    ]
    (tmp_path / "ostree").write_text(OSTREE, encoding="ascii")
    (tmp_path / "wrapper").write_text(WRAPPER, encoding="ascii")
    install = [
        "install -d %{buildroot}/usr/lib/pool/lib",
        f"cp -L {' '.join(libraries)} %{{buildroot}}/usr/lib/pool/lib/",
        "cp /usr/bin/ostree %{buildroot}/usr/lib/pool/ostree.bin",
        f"cp {tmp_path}/wrapper %{{buildroot}}/usr/lib/pool/ostree",
        f"cp {tmp_path}/ostree %{{buildroot}}/usr/bin/ostree",
        "chmod 755 %{buildroot}/usr/lib/pool/ostree %{buildroot}/usr/bin/ostree",
    ]
    header = "AutoReqProv: no\n%define _binaries_in_noarch_packages_terminate_build 0\n%define __strip /bin/true"
    files = "/usr/lib/pool\n/usr/bin/ostree"
    return build_candidate("1.0.1", header=header, install="\n".join(install), files=files)


def test_a_lent_host_is_put_on_the_compose_and_tested(
    branch: Branch, build_candidate: BuildCandidate, pool_host: dict[str, Any], served: str
) -> None:
    """Over HTTP, on exactly the candidate's commit; then checks and the package's tests pass, and it promotes."""
    candidate = build_candidate("1.1")
    composed = branch.compose(candidate, build_id=8)
    branch.dist_git.commit({"tests/tests.yml": ATOMIC.format(version="1.1")})
    nowhere = branch.integrate(
        composed, candidate, build_id=8, test_hosts=[pool_host], ostree_url="http://10.0.2.2:9/ostree"
    )
    tested = branch.integrate(composed, candidate, build_id=8, test_hosts=[pool_host], ostree_url=served)

    rev = composed["outputs"]["compose_rev"]
    assert (nowhere["status"], nowhere["fault"]) == ("FAILURE", "infrastructure")
    assert nowhere["reason"].startswith("ostree pull on host-1 failed: ")
    assert tested["status"] == "SUCCESS", json.dumps(tested, indent=1)
    assert tested["outputs"] == {"booted_rev": rev, "total": 6, "failed": 0, "promoted": True}
    assert branch.head() == rev
