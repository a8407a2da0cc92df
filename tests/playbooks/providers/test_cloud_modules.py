"""What the providers of clouds say: of what is not installed, and of what a cloud refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from pathlib import Path

AWS = {"region": "eu-central-1", "image": "ami-1", "instance_type": "t3.small", "subnet": "s-1", "security_group": "g"}
OPENSTACK = {"cloud": "ours", "image": "f26", "flavor": "m1", "network": "inside"}


def test_what_is_not_installed_is_named_with_how_to_install_it(tmp_path: Path) -> None:
    """In one sentence, packages and collection."""
    asked = {"provider": "aws", "packages": ["json", "no_such_boto"], "collection": "amazon.none", "paths": []}
    with pytest.raises(InfrastructureError) as caught:
        module("cloud_needs").look(asked)
    installed = tmp_path / "ansible_collections" / "amazon" / "none" / "MANIFEST.json"
    installed.parent.mkdir(parents=True)
    installed.touch()

    assert str(caught.value) == (
        "provider aws needs no_such_boto and the collection amazon.none: install the extra `cloud` where the playbook "
        "runs (uv sync --extra cloud, or pip install 'ci-pipeline[cloud]')"
    )
    assert module("cloud_needs").look(asked | {"packages": ["json"], "paths": [str(tmp_path)]}) == {}


@pytest.mark.parametrize(
    ("provider", "said", "meaning"),
    [
        ("aws", "An error occurred (UnauthorizedOperation) when calling", "the AWS account may not do this: docs/prov"),
        ("aws", "An error occurred (VcpuLimitExceeded) when calling", "the AWS account's quota is used up: return"),
        ("aws", "An error occurred (InvalidSubnetID.NotFound)", "region eu-central-1 has no subnet s-1: set provision"),
        (
            "aws",
            "(InsufficientInstanceCapacity)",
            "EC2 has no room for a t3.small now: try again, or set provision.aws",
        ),
        ("aws", "something else", "provider aws failed: something else"),
        ("openstack", "Cloud ours was not found.", "there is no cloud 'ours' to log in to: write clouds.yaml, or set"),
        ("openstack", "HttpException: 403: Client Error, Quota exceeded for cores", "the project's quota is used up"),
        ("openstack", "(HTTP 401) The request you have made requires authentication", "OpenStack does not accept our"),
        ("openstack", "No Image found for f26", "the cloud has no image f26: set provision.openstack.image"),
        ("openstack", "No valid host was found", "the cloud has no room for a m1 now: try again, or set provision"),
    ],
)
def test_what_a_cloud_refuses_is_said_with_what_to_do(provider: str, said: str, meaning: str) -> None:
    """What it said itself comes last."""
    section = AWS if provider == "aws" else OPENSTACK
    with pytest.raises(InfrastructureError) as caught:
        module("cloud_refusal").refuse({"provider": provider, "section": section, "failure": {"msg": said}})

    assert str(caught.value).startswith(meaning)
    assert said in str(caught.value)


def test_of_several_hosts_the_first_that_failed_is_told() -> None:
    """That some failed says nothing; the address that was asked may be long."""
    asked = "HttpException: 403: Client Error for url: https://cloud.example.org/" + "x" * 300
    items = [{"msg": "fine"}, {"failed": True, "msg": f"{asked}, Quota exceeded for instances"}]
    failure = {"msg": "One or more items failed", "results": items}
    sentence = module("cloud_refusal").sentence("openstack", OPENSTACK, failure)

    assert sentence.startswith("the project's quota is used up: return hosts, or have it raised (it said: HttpExc")


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (
            "Failed to discover: check that your auth_url is correct. Unable to establish connection",
            "the cloud cannot be",
        ),
        ("Security group g not found for project 1", "the cloud has no security group of provision.*.security_group:"),
        ("'Image' object has no attribute", "provider openstack failed: 'Image' object has no attribute"),
    ],
)
def test_words_that_only_look_like_a_reason_are_none(said: str, meaning: str) -> None:
    """What somebody has to do is in the first that is meant."""
    assert module("cloud_refusal").sentence("openstack", OPENSTACK, {"msg": said}).startswith(meaning)


def test_a_failure_of_ours_keeps_its_sentence() -> None:
    """It says what to do already."""
    sentence = module("cloud_refusal").sentence("aws", AWS, {"msg": "the disk is full", "fault": "infrastructure"})

    assert sentence == "the disk is full"
