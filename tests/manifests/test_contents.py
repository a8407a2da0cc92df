"""What a manifest says: what the stages reported of the image it is about, and of no other."""

import hashlib
import json
from importlib.metadata import version

import pytest

from ci_pipeline import requests, store
from ci_pipeline.manifests.manifest import Manifest
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings, project_folder
from ci_pipeline.stages import BUILD_PACKAGE, GENERATE_IMAGE
from ci_pipeline.store import images, runs
from tests.makers import COMPOSE_REV, REV, new_run
from tests.manifests.conftest import BUILDER, CONTENT, IMAGE, NEVRAS, Shop

OK = Status.SUCCESS


def test_a_report_that_is_no_use_makes_no_manifest(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Outputs are hostile: whatever a builder calls a version has to be one."""
    run = shop.good_run()
    with store.session() as session:
        build = runs.latest_results(session, run.id)["build_package"]
        build.outputs = {**build.outputs, "builder": {"rpm": ["not", "a", "version"]}}

    assert shop.deliver() == []
    assert "its run reported no usable builders.build_package.rpm" in caplog.text


def test_the_manifest_has_what_the_stages_reported(shop: Shop) -> None:
    """Image, change, run, packages, builders."""
    run = shop.good_run()
    shop.deliver()
    told, url = shop.told(), f"{shop.settings.artifacts.url}/fedora-atomic/f26"

    assert told["schema_version"] == 1
    assert told["image"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert (told["image"]["name"], told["image"]["url"]) == (IMAGE, f"{url}/images/{IMAGE}")
    assert (told["image"]["format"], told["image"]["size"]) == ("qcow2", len(CONTENT))
    assert (told["branch"], told["ref"]) == ("f26", "fedora/f26/x86_64/atomic-host")
    assert (told["compose_rev"], told["parent_rev"], told["version"]) == (COMPOSE_REV, "1" * 64, "26.1")
    assert told["packages"] == NEVRAS
    assert told["change"]["rev"] == REV
    assert told["change"]["nvr"] == "greeter-1.0-1.3.35fdde9.fc26"
    assert told["run"]["build_id"] == 1
    assert told["run"]["url"].endswith(f"/dags/ci-pipeline-f26/runs/{run.run_id}")
    assert told["builders"] == dict.fromkeys(("build_package", "compose_ostree", "generate_image"), BUILDER)


def test_the_manifest_has_every_stage_and_file(shop: Shop) -> None:
    """A skipped stage with its reason; a file that is not published without a path."""
    run = shop.good_run()
    shop.deliver()
    told = shop.told()
    results = {one["stage"]: one for one in told["results"]}

    assert [one["status"] for one in told["results"]] == ["SUCCESS"] * 6 + ["SKIPPED"] * 4
    assert results["functional_tests"]["counts"] == {"passed": 2}
    assert results["smoke_test"]["testcase"] == "org.centos.prod.ci.pipeline.image.test.smoke.complete"
    assert results["provision_hosts"]["reason"] == "no cluster"
    assert {(one["stage"], one["kind"], one["path"]) for one in told["files"]} == {
        ("build_package", "rpm", f"../repo/builds/{run.run_id}/greeter.rpm"),
        ("build_package", "log", ""),
        ("functional_tests", "junit", ""),
        ("generate_image", "image", IMAGE),
    }
    assert str(shop.root) not in json.dumps(told)


def test_a_password_of_dist_git_is_not_told(shop: Shop) -> None:
    """Everybody reads the manifest."""
    section = shop.settings.dist_git.model_copy(update={"url": "https://ci:hunter2@src.example.org"})
    private = Shop(shop.settings.model_copy(update={"dist_git": section}), shop.root)
    private.good_run()
    private.deliver()

    assert private.told()["change"]["url"] == "https://src.example.org/rpms/greeter.git"


def test_a_mere_control_plane_is_told_from_a_cluster_on_the_image(shop: Shop) -> None:
    """Its results are there, and say nothing of the image."""
    section = shop.settings.conformance.model_copy(update={"cluster": "control-plane"})
    plain = Shop(shop.settings.model_copy(update={"conformance": section}), shop.root)
    run = new_run()
    plain.play(run, *[OK] * 9, Status.UNSTABLE)
    plain.complete(run)
    plain.deliver()
    results = {one["stage"]: one for one in plain.told()["results"]}

    assert (results["conformance_tests"]["status"], results["conformance_tests"]["about_the_image"]) == (
        "UNSTABLE",
        False,
    )
    assert results["smoke_test"]["about_the_image"]


@pytest.fixture
def clustered(shop: Shop) -> Shop:
    """A pipeline that tests the branch's newest image when a run has none of its own."""
    section = shop.settings.conformance.model_copy(update={"cluster": "existing", "when": "always"})
    return Shop(shop.settings.model_copy(update={"conformance": section}), shop.root)


def test_what_a_later_run_tested_on_the_image_is_added(clustered: Shop) -> None:
    """With the number of that run."""
    clustered.good_run()
    clustered.deliver()
    later = new_run(rev="1" * 40)
    clustered.play(later, *[OK] * 4)
    clustered.skip(later, GENERATE_IMAGE, "not due")
    clustered.play(later, *[OK] * 4, first=6)
    clustered.complete(later)
    done = clustered.deliver()
    added = [(one["build_id"], one["stage"], one["status"]) for one in clustered.told()["results"]][-4:]

    assert len(done) == 1
    assert added[0] == (2, "provision_hosts", "SUCCESS")
    assert added[-1] == (2, "conformance_tests", "SUCCESS")


def test_an_image_keeps_its_own_results_when_its_run_makes_another(shop: Shop) -> None:
    """The run was cleared from its compose on: what is written of the older image is of the older tries."""
    run = shop.good_run()
    with store.session() as session:
        old = runs.latest_results(session, run.id)["compose_ostree"].started_at
    newer = {"image_name": "newer.qcow2", "image_size": 1, "image_sha256": "1" * 64, "compose_rev": "1" * 64}
    shop.play(run, OK, OK, first=2, try_number=2)
    with store.session() as session:
        composed = runs.latest_results(session, run.id)["compose_ostree"]
        composed.outputs = {**composed.outputs, "compose_rev": "1" * 64, "installed": []}
        images.record(session, run=run.id, branch="f26", outputs={**newer, "version": "26.2"})
    shop.complete(run)
    shop.deliver()

    assert shop.told()["packages"] == NEVRAS
    assert [one["started_at"] for one in shop.told()["results"] if one["stage"] == "compose_ostree"] == [
        old.isoformat().replace("+00:00", "Z")
    ]


def test_every_key_is_documented() -> None:
    """docs/images.md names each."""
    text = (project_folder() / "docs" / "images.md").read_text(encoding="utf-8")
    schema = Manifest.model_json_schema()
    parts = {"": schema, **schema["$defs"]}
    missing = {key for part in parts.values() for key in part["properties"] if f"`{key}`" not in text}

    assert not missing


def test_the_builder_is_told_which_pipeline_it_works_for(current: Settings, database: None) -> None:
    """The playbooks are the pipeline's; the tools are the builder's."""
    run = new_run()
    with store.session() as session:
        request = requests.make(session, current, run, BUILD_PACKAGE, workspace=current.state)

    assert request["pipeline_version"] == version("ci-pipeline")
