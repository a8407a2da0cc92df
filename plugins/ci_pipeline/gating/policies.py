"""Which policies are for a subject, and what they ask for. Pure: no database."""

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from ci_pipeline.bus import schemas
from ci_pipeline.errors import NoPolicyError
from ci_pipeline.gating_sections import KOJI_BUILD, Policy
from ci_pipeline.settings import Settings
from ci_pipeline.stages import COMPLETE, STEPS

EVENTS: Final = (*STEPS, COMPLETE)
_SHOWN: Final = 300


def testcase_of(event: str, settings: Settings) -> str:
    """Return what an event's testcase is called: the topic its end is announced on."""
    return schemas.testcase_of(event, settings.bus.topic_prefix)


def testcases(settings: Settings) -> dict[str, str]:
    """Return all testcases there are, each with its event."""
    return {testcase_of(event, settings): event for event in EVENTS}


def applicable(
    settings: Settings, *, contexts: Collection[str], product_version: str, subject_type: str
) -> list[Policy]:
    """Return the policies for a gate, a product and a type of subject."""
    return [
        policy
        for policy in settings.policies
        if policy.subject_type == subject_type
        and not set(contexts).isdisjoint(policy.decision_contexts)
        and _any_fits(policy.product_versions, product_version)
    ]


def gates(settings: Settings, product_version: str) -> list[tuple[str, str]]:
    """Return the subject types and decision contexts that have a policy for a product, each pair once."""
    pairs = (
        (policy.subject_type, context)
        for policy in settings.policies
        if product_version and _any_fits(policy.product_versions, product_version)
        for context in policy.decision_contexts
    )
    return list(dict.fromkeys(pairs))


def required(settings: Settings, policies: Iterable[Policy], package: str) -> list[str]:
    """Return the testcases that policies ask for of a package, each once.

    Whether it is gating is what is configured. What a single run was asked for is about that run alone: who is not
    content with a decision waives, and says why.
    """
    gating = settings.package_of(package).gating
    wanted = (
        testcase_of(test, settings)
        for policy in policies
        if policy.subject_type != KOJI_BUILD or _is_for(policy, package, gating=gating)
        for test in policy.tests
    )
    return list(dict.fromkeys(wanted))


def refuse(*, contexts: Sequence[str], product_version: str, subject_types: Iterable[str]) -> NoPolicyError:
    """Return the error that nothing is decided by any policy; all of it is hostile."""
    types = ", ".join(dict.fromkeys(subject_types))
    asked = f"{types} subjects at gating point {', '.join(contexts)} in {product_version}"
    shown = asked if len(asked) <= _SHOWN else f"{asked[:_SHOWN]}..."
    return NoPolicyError(f"cannot find any applicable policies for {shown}; GET /api/v1.0/policies lists what there is")


def _is_for(policy: Policy, package: str, *, gating: bool) -> bool:
    return (gating or not policy.only_gating) and _any_fits(policy.packages, package)


def _any_fits(globs: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
