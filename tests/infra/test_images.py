"""An image that is generated on one builder and booted on another: `make test-infra`."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci_pipeline.outcome import Status
from tests.playbooks.host.branches import LIMITS, REF

if TYPE_CHECKING:
    from tests.builders.hosts import Lab
    from tests.playbooks.host.branches import Branch


def test_an_image_is_generated_on_one_builder_and_booted_on_another(
    hosts: Lab, new_try: Any, controller: Path, branch: Branch
) -> None:
    """The image is here, by its name, without what told of an older one; `latest` leads to it once it has booted."""
    of_branch = controller / "artifacts" / "fedora-atomic" / "f26"
    shutil.copytree(branch.ostree, of_branch / "ostree", symlinks=True)
    images, latest = of_branch / "images", of_branch / "images" / "latest.qcow2"
    images.mkdir()
    stale = images / f"fedora-atomic-26.1-{branch.head()[:15]}.qcow2.manifest.json"
    stale.touch()
    common = {"compose_rev": branch.head(), "version": "26.1", "ref": REF, "limits": LIMITS, "image_dir": str(images)}
    hosts.add("b1", builder_machines=0)
    made = new_try("generate_image")
    made.ask()
    request = made.request(**common, ostree_repo=str(of_branch / "ostree"))
    generated = made.executor().run(request, workspace=made.workspace)
    before = latest.exists()
    hosts.add("b2")
    booted = new_try("smoke_test", run=made.ticket.run)
    booted.ask()
    outputs = {key: generated.outputs[key] for key in ("image_name", "image_sha256")}
    tested = booted.executor().run(booted.request(**common, **outputs), workspace=booted.workspace)
    image = images / str(outputs["image_name"])

    assert (generated.status, tested.status) == (Status.SUCCESS, Status.SUCCESS), (generated.reason, tested.reason)
    assert (made.builder.name, booted.builder.name) == ("b1", "b2")
    assert hashlib.sha256(image.read_bytes()).hexdigest() == outputs["image_sha256"]
    assert not before
    assert latest.readlink() == Path(image.name)
    assert tested.outputs["booted_rev"] == branch.head()
    assert sorted(path.name for path in images.iterdir()) == [image.name, "latest.qcow2"]
