"""JUnit is read as it comes: what it says counts, how much it prints does not."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils import ci_junit
from ansible.module_utils.ci_junit import read_junit
from ansible.module_utils.ci_stage import PackageError

if TYPE_CHECKING:
    from pathlib import Path

PASSED = '<testcase name="pods start" classname="e2e" time="2.5"/>'
SKIPPED = '<testcase name="node reboots"><skipped message="skipped"></skipped></testcase>'
# As Ginkgo 1 leaves it: a bare suite, no message attribute.
GINKGO_1 = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="Kubernetes e2e suite" tests="2" failures="1" errors="0" time="91.3">
  <testcase name="[sig-api-machinery] Watchers see events [Conformance]" classname="Kubernetes e2e suite" time="1.5"/>
  <testcase name="[sig-apps] answers" classname="Kubernetes e2e suite" time="3">
    <failure type="Failure">/src/apps.go:12&#xA;timed out</failure><system-out>a lot</system-out>
  </testcase>
  <testcase name="[sig-storage] mounts" classname="Kubernetes e2e suite" time="0"><skipped></skipped></testcase>
</testsuite>
"""
# As Ginkgo 2 leaves it: suites in suites, its own nodes as cases, a status attribute, all output in the file.
GINKGO_2 = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" disabled="1" errors="1" failures="1" time="91.3">
  <testsuite name="Kubernetes e2e suite" tests="4" disabled="0" skipped="1" errors="1" failures="1" time="91.3">
    <properties><property name="RandomSeed" value="1"></property></properties>
    <testcase name="[SynchronizedBeforeSuite]" classname="Kubernetes e2e suite" status="passed" time="0.1">
      <system-err>&gt; Enter [SynchronizedBeforeSuite]</system-err></testcase>
    <testcase name="[It] [sig-apps] answers" classname="Kubernetes e2e suite" status="failed" time="3">
      <failure message="timed out" type="failed">[FAILED] timed out</failure><system-err>a lot</system-err></testcase>
    <testcase name="[It] [sig-node] stays" classname="Kubernetes e2e suite" status="panicked" time="1">
      <error message="runtime error" type="panicked">[PANICKED] Test Panicked</error></testcase>
    <testcase name="[It] [sig-storage] mounts" classname="Kubernetes e2e suite" status="skipped" time="0">
      <skipped message="skipped"></skipped></testcase>
  </testsuite>
</testsuites>
"""


@pytest.fixture
def junit(tmp_path: Path) -> Path:
    """Where the file is to be."""
    return tmp_path / "junit_01.xml"


def test_what_ginkgo_1_leaves_is_read(junit: Path) -> None:
    """A failure's text is its message."""
    junit.write_text(GINKGO_1, encoding="utf-8")
    found = read_junit(junit, with_class=False)

    assert [(test["name"], test["outcome"], test["seconds"], test["message"]) for test in found.tests] == [
        ("[sig-api-machinery] Watchers see events [Conformance]", "passed", 1.5, ""),
        ("[sig-apps] answers", "failed", 3, "/src/apps.go:12 timed out"),
        ("[sig-storage] mounts", "skipped", 0, ""),
    ]
    assert (found.skipped, found.claim) == (1, "")


def test_what_ginkgo_2_leaves_is_read(junit: Path) -> None:
    """A panic is an error; the message is the attribute."""
    junit.write_text(GINKGO_2, encoding="utf-8")
    found = read_junit(junit, with_class=False, with_skipped=False)

    assert [(test["name"], test["outcome"], test["message"]) for test in found.tests] == [
        ("[SynchronizedBeforeSuite]", "passed", ""),
        ("[It] [sig-apps] answers", "failed", "timed out"),
        ("[It] [sig-node] stays", "error", "runtime error"),
    ]
    assert (found.skipped, found.claim) == (1, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no element found"),
        ("<testsuite>", "no element found"),
        ("<html/>", "its root is <html>"),
        ("<testcase/>", "its root is <testcase>"),
        (f"<testsuite>{PASSED}</testsuite><testsuite/>", "junk after document element"),
        (f'<!DOCTYPE a [<!ENTITY b "c">]><testsuite>{PASSED}</testsuite>', "it has a document type"),
        ("<testsuite>&lol;</testsuite>", "undefined entity"),
        ("<testsuite>" + "<a>" * 200 + "</a>" * 200 + "</testsuite>", "nested too deeply"),
        ("<testsuite>\0</testsuite>", "not well-formed"),
    ],
)
def test_what_is_no_junit_is_refused(junit: Path, text: str, reason: str) -> None:
    """With a reason; there is no half of a file."""
    junit.write_text(text, encoding="utf-8")

    with pytest.raises(PackageError, match=reason):
        read_junit(junit)


def test_a_link_is_not_followed(junit: Path, tmp_path: Path) -> None:
    """It could lead anywhere."""
    (tmp_path / "other.xml").write_text(f"<testsuite>{PASSED}</testsuite>", encoding="utf-8")
    junit.symlink_to("other.xml")

    with pytest.raises(OSError, match="symbolic links"):
        read_junit(junit)


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ('<testsuite tests="17" failures="17"/>', "17 failures but only 0 failing cases"),
        ('<testsuites failures="1"><testsuite failures="1"/></testsuites>', "1 failures but only 0"),
        ('<testsuites><testsuite failures="1"/><testsuite errors="2"/></testsuites>', "3 failures but only 0"),
        ('<testsuite failures="1"><testsuite failures="1"><testcase><failure/></testcase></testsuite></testsuite>', ""),
        ('<testsuite failures="nan" errors="-3"/>', ""),
    ],
)
def test_a_suite_that_failed_outside_of_its_cases_says_so(junit: Path, text: str, claim: str) -> None:
    """Its attributes are believed, those of one suite for all inside it."""
    junit.write_text(text, encoding="utf-8")

    assert claim in read_junit(junit).claim
    assert bool(claim) == bool(read_junit(junit).claim)


def test_ten_thousand_cases_are_read(junit: Path) -> None:
    """Those that were skipped are counted."""
    junit.write_text(f"<testsuite>{PASSED * 10_000}{SKIPPED * 5_000}</testsuite>", encoding="utf-8")
    found = read_junit(junit, with_skipped=False)

    assert (len(found.tests), found.skipped) == (10_000, 5_000)
    assert found.tests[0] == {"name": "e2e.pods start", "outcome": "passed", "seconds": 2.5, "message": ""}


def test_more_cases_than_can_be_kept_are_refused(junit: Path) -> None:
    """Half of them would read as all of them."""
    junit.write_text(f"<testsuite>{PASSED * (ci_junit.TESTS_LIMIT + 1)}</testsuite>", encoding="utf-8")

    with pytest.raises(PackageError, match="more than 20000 cases"):
        read_junit(junit)


def test_what_tests_print_is_not_kept(junit: Path) -> None:
    """Tens of megabytes of output beside a case, and in a failure, leave two thousand characters."""
    much = "said again and again\n" * 2_000_000
    failed = f'<testcase name="a"><system-out>{much}</system-out><failure>{much}</failure></testcase>'
    junit.write_text(f"<testsuite>{failed}</testsuite>", encoding="utf-8")
    del failed
    tracemalloc.start()
    try:
        found = read_junit(junit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found.tests[0]["message"].startswith("said again and again")
    assert len(found.tests[0]["message"]) <= 2000
    assert peak < len(much) / 10
