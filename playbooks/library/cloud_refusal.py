#!/usr/bin/python
"""Fail with one sentence that says why a cloud refused, and what to do, made of the failed task of its collection.

What the cloud said comes last. `section` is the provider's part of the settings: the sentence names its values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ansible.module_utils.ci_stage import InfrastructureError, clean, run_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ARGUMENTS: Final[dict[str, Any]] = {
    "provider": {"type": "str", "choices": ["aws", "openstack"], "required": True},
    "section": {"type": "dict", "required": True},
    "failure": {"type": "dict", "required": True},
}
_SAID: Final = 200
# Of what a cloud said: the address it was asked at comes first, and may be long.
_LOOKED_AT: Final = 2000
# What the clouds say, and what that means here: the first that is found counts.
_AWS: Final = (
    (
        r"AuthFailure|InvalidClientTokenId|SignatureDoesNotMatch|UnrecognizedClient|ExpiredToken|locate credentials",
        "EC2 does not accept our credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    ),
    (
        r"UnauthorizedOperation|AccessDenied",
        "the AWS account may not do this: docs/provisioning-clouds.md has the policy it needs",
    ),
    (r"InvalidAMIID", "region {region} has no image {image}: set provision.aws.image"),
    (
        r"InsufficientInstanceCapacity",
        "EC2 has no room for a {instance_type} now: try again, or set provision.aws.instance_type",
    ),
    (
        r"(Instance|Vcpu)LimitExceeded|InstanceCreditSpecification",
        "the AWS account's quota is used up: return hosts (docs/provisioning-clouds.md finds leaked ones) or raise it",
    ),
    (r"InvalidInstanceType|instance type", "{region} has no {instance_type}: set provision.aws.instance_type"),
    (r"InvalidSubnet", "region {region} has no subnet {subnet}: set provision.aws.subnet"),
    (r"InvalidGroup", "region {region} has no security group {security_group}: set provision.aws.security_group"),
    (
        r"Could not connect|EndpointConnection|valid region|Connection was closed",
        "EC2 cannot be reached in region {region}: set provision.aws.region, or look at the network",
    ),
)
_OPENSTACK: Final = (
    # It ends up with a hint at auth_url, too.
    (r"Unable to establish connection", "the cloud cannot be reached: look at its address, and the network"),
    (
        r"Cloud \S+ was not found|auth_url|No cloud",
        "there is no cloud {cloud!r} to log in to: write clouds.yaml, or set OS_AUTH_URL and what goes with it",
    ),
    (
        r"401|Unauthorized|requires authentication|Missing value",
        "OpenStack does not accept our credentials: look at clouds.yaml, or at OS_PASSWORD and what goes with it",
    ),
    (r"403.*[Qq]uota|[Qq]uota exceeded", "the project's quota is used up: return hosts, or have it raised"),
    (r"403|Forbidden", "the OpenStack account may not do this: docs/provisioning-clouds.md says what it needs"),
    (
        r"(?i)security group",
        "the cloud has no security group {security_group}: set provision.openstack.security_group",
    ),
    (r"(?i)(find|no) image", "the cloud has no image {image}: set provision.openstack.image"),
    (r"(?i)flavor", "the cloud has no flavor {flavor}: set provision.openstack.flavor"),
    (r"No valid host", "the cloud has no room for a {flavor} now: try again, or set provision.openstack.flavor"),
    (
        r"(?i)network \S+ could not be found|find network|No Network",
        "the cloud has no network {network}: set provision.openstack.network",
    ),
    (r"Connection", "the cloud cannot be reached: look at its address, and the network"),
)
_RULES: Final[dict[str, Sequence[tuple[str, str]]]] = {"aws": _AWS, "openstack": _OPENSTACK}


def refuse(params: dict[str, Any]) -> NoReturn:
    """Raise InfrastructureError with the sentence."""
    raise InfrastructureError(sentence(params["provider"], params["section"], params["failure"]))


def sentence(provider: str, section: Mapping[str, Any], failure: Mapping[str, Any]) -> str:
    """Return the sentence for a failed task."""
    whole = clean(_of_item(failure).get("msg") or "it did not say why", _LOOKED_AT)
    said = clean(whole, _SAID)
    if failure.get("fault"):
        return said
    for pattern, meaning in _RULES[provider]:
        if re.search(pattern, whole):
            return f"{meaning.format_map(_Known(section))} (it said: {said})"
    return f"provider {provider} failed: {said}"


def _of_item(failure: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the failure of the first item that failed of a task that was done for several; else the task's own."""
    failed = (item for item in failure.get("results", ()) if item.get("failed"))
    return next(failed, failure)


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"of provision.*.{key}"


if __name__ == "__main__":
    run_module(ARGUMENTS, refuse)
