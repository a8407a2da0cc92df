"""A side run: an old candidate is composed, booted and tested, and the branch does not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.playbooks.host.branches import REF, refs

if TYPE_CHECKING:
    from tests.playbooks.host.branches import Branch, BuildCandidate


def test_an_older_candidate_is_composed_and_tested_and_nothing_moves(
    branch: Branch, build_candidate: BuildCandidate
) -> None:
    """It takes the place of the newer build in its own commit, on top of the branch's; ref and packages stay."""
    candidate, side = build_candidate("0.9"), {"build_id": 7, "promote": False}
    head, packages, link = branch.head(), branch.good_packages(), branch.package_set.readlink()

    composed = branch.compose(candidate, **side)
    tested = branch.integrate(composed, candidate, **side)

    assert composed["status"] == "SUCCESS", composed["reason"]
    assert composed["outputs"]["parent_rev"] == head
    assert composed["outputs"]["package_diff"]["changed"] == [["hello-1.0-1.fc26.noarch", "hello-0.9-1.fc26.noarch"]]
    assert tested["status"] == "SUCCESS", tested["reason"]
    assert tested["outputs"]["booted_rev"] == composed["outputs"]["compose_rev"]
    assert tested["outputs"]["promoted"] is False
    assert (branch.head(), branch.good_packages(), branch.package_set.readlink()) == (head, packages, link)
    assert refs(branch.ostree) == {"candidate/f26/7", REF}


def test_a_dependency_on_the_newer_build_is_the_old_ones_failure(
    branch: Branch, build_candidate: BuildCandidate
) -> None:
    """Nothing is composed of a set that would be neither the branch's nor the revision's."""
    needy = build_candidate("1.0", name="needy", header="Requires: hello >= 1.0")
    composed = branch.compose(needy, build_id=2, install=["host-base", "hello", "needy"])
    assert branch.integrate(composed, needy, build_id=2, packages=["needy"])["outputs"]["promoted"]

    request = {"build_id": 7, "promote": False, "install": ["host-base", "hello", "needy"]}
    result = branch.compose(build_candidate("0.9"), **request)

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert "hello >= 1.0" in result["reason"]
