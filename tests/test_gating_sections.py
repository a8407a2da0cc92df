"""A policy that could never do what it says is refused, with a sentence."""

import json
from typing import Any

import pytest

from ci_pipeline import settings
from ci_pipeline.errors import SettingsError

POLICY: dict[str, Any] = {
    "id": "p",
    "product_versions": ["fedora-*"],
    "decision_contexts": ["promote"],
    "tests": ["package", "complete"],
}


def load(monkeypatch: pytest.MonkeyPatch, *policies: dict[str, Any]) -> settings.Settings:
    """Return the settings with policies."""
    monkeypatch.setenv("CI_PIPELINE_POLICIES", json.dumps(policies))
    return settings.load()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"tests": []}, r"policies\.0\.tests: .* at least 1"),
        (
            {"tests": ["package.test"]},
            r"policies\.0\.tests\.0: .*no testcase 'package.test'; one of: package,",
        ),
        ({"tests": ["org.centos.prod.ci.pipeline.complete"]}, "no testcase"),
        ({"product_versions": []}, r"policies\.0\.product_versions"),
        ({"decision_contexts": ["a b"]}, r"policies\.0\.decision_contexts\.0"),
        ({"subject_type": "bodhi_update"}, r"policies\.0\.subject_type: .*'koji_build', 'compose' or 'image'"),
        ({"subject_type": "compose"}, "package: not about subject_type compose; its tests begin with compose"),
        ({"subject_type": "image", "tests": ["compose"]}, "not about subject_type image"),
        ({"subject_type": "compose", "tests": ["compose"], "packages": ["mesa"]}, "for subject_type koji_build alone"),
        ({"only_gating": "perhaps"}, r"policies\.0\.only_gating"),
        ({"nonsense": 1}, r"policies\.0\.nonsense: unknown key; allowed here: decision_contexts, id,"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], sentence: str
) -> None:
    """With its place, and what is allowed there."""
    with pytest.raises(SettingsError, match=sentence):
        load(monkeypatch, {**POLICY, **changed})


def test_two_policies_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision names its policies."""
    with pytest.raises(SettingsError, match="two policies are called p"):
        load(monkeypatch, POLICY, POLICY)


def test_a_policy_is_for_gating_packages_unless_it_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults are what most want."""
    (policy,) = load(monkeypatch, POLICY).policies

    assert (policy.subject_type, policy.only_gating, policy.packages) == ("koji_build", True, ["*"])


@pytest.mark.parametrize(("branch", "product"), [("f26", "fedora-26"), ("rawhide", "fedora-rawhide"), ("nobodys", "")])
def test_a_product_is_named_after_the_release_of_its_branch(branch: str, product: str) -> None:
    """As Greenwave's callers name it."""
    assert settings.load().product_of(branch) == product
