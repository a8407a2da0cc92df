"""Which policies are for whom, and what they ask for."""

from typing import Any

import pytest

from ci_pipeline.gating import policies
from ci_pipeline.gating_sections import Policy
from ci_pipeline.settings import Settings

PACKAGE, TESTS, COMPLETE = (
    f"org.centos.prod.ci.pipeline.{event}"
    for event in ("package.complete", "package.test.functional.complete", "complete")
)


def policy(**changed: Any) -> Policy:
    """Return a policy."""
    fields = {"id": "p", "product_versions": ["fedora-26"], "decision_contexts": ["promote"], "tests": ["package"]}
    return Policy.model_validate({**fields, **changed})


@pytest.mark.parametrize(
    ("changed", "package", "required"),
    [
        ({}, "greeter", [PACKAGE]),
        ({"tests": ["package", "package.test.functional", "complete"]}, "greeter", [PACKAGE, TESTS, COMPLETE]),
        ({}, "hostinfo", []),  # it is opt-in
        ({"only_gating": False}, "hostinfo", [PACKAGE]),
        ({}, "never-heard-of", [PACKAGE]),
        ({"packages": ["gr*"]}, "greeter", [PACKAGE]),
        ({"packages": ["gr*"]}, "mesa", []),
        ({"packages": ["mesa", "greeter"]}, "greeter", [PACKAGE]),
        ({"packages": ["reeter"]}, "greeter", []),
    ],
)
def test_a_policy_asks_for_its_tests_of_the_packages_it_is_for(
    current: Settings, changed: dict[str, Any], package: str, required: list[str]
) -> None:
    """By name, and by whether the package is gating."""
    assert policies.required(current, [policy(**changed)], package) == required


def test_what_two_policies_ask_for_is_asked_for_once(current: Settings) -> None:
    """In the order of the file."""
    both = [policy(), policy(tests=["complete", "package"])]

    assert policies.required(current, both, "greeter") == [PACKAGE, COMPLETE]


@pytest.mark.parametrize(
    ("globs", "product", "applies"),
    [
        (["fedora-26"], "fedora-26", True),
        (["fedora-2*"], "fedora-26", True),
        (["fedora-*"], "fedora-rawhide", True),
        (["fedora-27", "fedora-26"], "fedora-26", True),
        (["fedora-2"], "fedora-26", False),
        (["FEDORA-26"], "fedora-26", False),
    ],
)
def test_a_policy_is_for_the_products_its_globs_name(
    current: Settings, globs: list[str], product: str, *, applies: bool
) -> None:
    """Wholly, and in the same case."""
    configured = current.model_copy(update={"policies": [policy(product_versions=globs)]})
    found = policies.applicable(configured, contexts=["promote"], product_version=product, subject_type="koji_build")

    assert bool(found) is applies
    assert bool(policies.gates(configured, product)) is applies
