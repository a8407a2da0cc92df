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
    (r"(?i)image", "the cloud has no image {image}: set provision.openstack.image"),
    (r"(?i)flavor", "the cloud has no flavor {flavor}: set provision.openstack.flavor"),
    (r"No valid host", "the cloud has no room for a {flavor} now: try again, or set provision.openstack.flavor"),
    (
        r"(?i)network \S+ could not be found|find network|No Network",
        "the cloud has no network {network}: set provision.openstack.network",
    ),
    (r"Unable to establish connection|Connection", "the cloud cannot be reached: look at its address, and the network"),
)
_RULES: Final[dict[str, Sequence[tuple[str, str]]]] = {"aws": _AWS, "openstack": _OPENSTACK}


def refuse(params: dict[str, Any]) -> NoReturn:
    """Raise InfrastructureError with the sentence."""
    raise InfrastructureError(sentence(params["provider"], params["section"], params["failure"]))


def sentence(provider: str, section: Mapping[str, Any], failure: Mapping[str, Any]) -> str:
    """Return the sentence for a failed task."""
    said = clean(failure.get("msg") or "it did not say why", _SAID)
    if failure.get("fault"):
        return said
    for pattern, meaning in _RULES[provider]:
        if re.search(pattern, said):
            return f"{meaning.format_map(_Known(section))} (it said: {said})"
    return f"provider {provider} failed: {said}"


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"of provision.*.{key}"


if __name__ == "__main__":
    run_module(ARGUMENTS, refuse)
