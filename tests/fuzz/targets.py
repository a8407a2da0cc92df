"""What reads files and texts of strangers: each by its name, with what may come of it, and what it is tried with first.

A target takes bytes. It raises nothing, whatever they are: what the reader may raise, it takes for an answer.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ansible.module_utils
from fastapi import HTTPException

from ci_pipeline.bus import inbound
from ci_pipeline.change import Change
from ci_pipeline.errors import ChangeError, ExecutorError
from ci_pipeline.executors.report import REPORT_NAME, read_report
from ci_pipeline.gating.asked import AskedDecision, AskedWaiver, read

TESTS: Final = Path(__file__).parents[1]
# Where Ansible puts them for a module.
ansible.module_utils.__path__.append(str(TESTS.parent / "playbooks" / "module_utils"))

from ansible.module_utils import ci_lookaside, ci_nevra, ci_progress, ci_rpm, ci_spec  # noqa: E402 - see above
from ansible.module_utils.ci_junit import read_junit  # noqa: E402 - see above
from ansible.module_utils.ci_results import read_results_yml  # noqa: E402 - see above
from ansible.module_utils.ci_stage import PackageError, clean  # noqa: E402 - see above
from ansible.module_utils.ci_tmt import read_tmt_results  # noqa: E402 - see above

OUTCOMES: Final = {"passed", "failed", "error", "skipped"}
_FOLDER: Final = tempfile.TemporaryDirectory(prefix="ci-pipeline-fuzz-")
_WORKSPACE: Final = Path(_FOLDER.name)


@dataclass(frozen=True, slots=True)
class Target:
    """A reader: `read` takes bytes, `seeds` are what it is meant to read, `words` what its language is made of."""

    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


@contextlib.contextmanager
def _answering(expected: type[Exception]) -> Iterator[None]:
    """Take an error that a reader may raise for an answer: a sentence that can be shown."""
    try:
        yield
    except expected as error:
        if not (str(error).isprintable() or isinstance(error, HTTPException)):
            raise AssertionError(f"{error!r} cannot be shown") from error


def _left(name: str, raw: bytes) -> Path:
    path = _WORKSPACE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def _check_tests(tests: Iterable[dict[str, Any]]) -> None:
    for test in tests:
        assert test["outcome"] in OUTCOMES
        assert 0 <= test["seconds"] < float("inf")
        assert "\n" not in test["name"] + test["message"]
        assert "\x00" not in test["name"] + test["message"]
        (test["name"] + test["message"]).encode()


def _junit(raw: bytes) -> None:
    path = _left("junit.xml", raw)
    with _answering(PackageError):
        _check_tests(read_junit(path).tests)


def _results_yml(raw: bytes) -> None:
    path = _left("results.yml", raw)
    with _answering(PackageError):
        _check_tests(read_results_yml(path))


def _tmt(raw: bytes) -> None:
    path = _left("plan/execute/results.yaml", raw)
    with _answering(PackageError):
        _check_tests(read_tmt_results(path.parent.parent))


def _sources(raw: bytes) -> None:
    path = _left("sources", raw)
    with _answering(PackageError):
        found = ci_lookaside.read_list(path)
        assert all("/" not in one.name and not one.name.startswith(("-", ".")) for one in found)


def _report(raw: bytes) -> None:
    path = _left(REPORT_NAME, raw)
    try:
        report = read_report(path.parent)
    except ExecutorError:
        return
    told = json.dumps(report.model_dump(mode="json"), allow_nan=False)
    assert "\\u0000" not in told.replace("\\\\", "")


def _progress(raw: bytes) -> None:
    log, told = _left("suite.log", raw), _WORKSPACE / "progress"
    progress = ci_progress.Progress(log, told)
    progress.look()
    progress.look()
    if told.exists():
        line = told.read_text(encoding="utf-8")
        assert line.endswith("\n")
        assert len(line.splitlines()) == 1


def _nevra(raw: bytes) -> None:
    with _answering(PackageError):
        found = ci_nevra.parse_query(raw.decode("utf-8", "replace"))
        assert ci_nevra.from_pkglist(ci_nevra.to_pkglist(found)) == found


def _rpmbuild(raw: bytes) -> None:
    # What no version of Unicode has given a meaning yet may be in it.
    told = ci_rpm.failure(raw.decode("utf-8", "replace"))
    assert clean(told, len(told)) == told.strip()


def _spec(raw: bytes) -> None:
    with _answering(PackageError):
        stamped = ci_spec.stamp(raw.decode("utf-8", "replace"), "1.abcdef0", "1.fc26", ".fc26")
        assert "1.abcdef0" in stamped


def _message(raw: bytes) -> None:
    with _answering(ChangeError):
        push = inbound.read("org.fedoraproject.prod.git.receive", inbound.decode(raw))
        assert Change.parse(**push.change.model_dump()) == push.change
        assert (push.agent + push.ignore_reason).isprintable()


def _asked(raw: bytes) -> None:
    for model in (AskedDecision, AskedWaiver):
        with _answering(HTTPException):
            read(model, raw)


def _dumped(*documents: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(json.dumps(document).encode() for document in documents)


_JUNIT: Final = b"""<testsuites failures="1"><testsuite name="s" tests="2" failures="1" errors="0">
<testcase name="a" classname="b" time="1.5"/><testcase name="c"><failure message="no">text</failure></testcase>
</testsuite></testsuites>"""
_RESULTS: Final = b"results:\n- {test: a, result: pass, logs: [a.log]}\n"
_SOURCES: Final = (b"SHA512 (a.tar.gz) = " + b"0" * 128 + b"\n", b"0" * 32 + b"  a.tar.gz\n")
_TEST: Final = {"name": "a", "outcome": "failed", "seconds": 1.5, "message": "no"}
_FILE: Final = {"name": "l", "path": "/a/l", "kind": "log", "sha256": "0" * 64, "size": 1}
_REPORT: Final = {"status": "UNSTABLE", "reason": "1 of 2", "outputs": {"nvr": "a-1-1"}, "tests": [_TEST]}
_SPEC: Final = b"Name: a\nVersion: 1\nRelease: 1%{?dist}\n%description\n"
_SAID: Final = b'I0101 {"msg":"PASSED a","total":22,"completed":1,"failed":0}\n'
_BUILT: Final = b"+ make\nno rule\nerror: Bad exit status from /var/tmp/x (%build)\n"
_SUBJECT: Final = {"type": "koji_build", "item": "a-1-1"}
_ASKED: Final = {"product_version": "fedora-26", "decision_context": "promote", "subject": [_SUBJECT]}
_WAIVER: Final = {
    "subject_type": "koji_build",
    "subject_identifier": "a-1-1",
    "testcase": "t",
    "product_version": "f",
    "comment": "c",
}
_RECEIVE: Final = (TESTS / "data" / "messages" / "org.fedoraproject.prod.git.receive.json").read_bytes()
_TMT: Final = (TESTS / "data" / "tmt_results.txt").read_bytes()

# What is no good in any language.
WORDS: Final = (
    b"\x00",
    b"\xff",
    b"\xe2\x80\xae",
    b"\x1b[2J",
    b"1e999",
    b"-1",
    b"NaN",
    b"9" * 40,
    b'"\\u0000"',
    b"[" * 99,
)
TARGETS: Final = {
    "junit": Target(
        _junit, (_JUNIT,), (b"<!DOCTYPE a>", b"&amp;", b"<![CDATA[", b"<error/>", b"<testsuite>", b" time=")
    ),
    "results-yml": Target(_results_yml, (_RESULTS,), (b"&a ", b"*a", b"!!python/name:os")),
    "tmt": Target(_tmt, (_TMT,), (b"&a ", b"*a", b"!!binary ", b"- {", b"99:00:00")),
    "sources": Target(_sources, _SOURCES, (b"../", b"SHA512 (")),
    "report": Target(
        _report, _dumped(_REPORT, _REPORT | {"artifacts": [_FILE]}), (b'{"a":', b"Infinity", b'"again_in": 1,')
    ),
    "progress": Target(_progress, (_SAID,), (b'{"msg":', b"1e999", b'"total":')),
    "nevra": Target(_nevra, (b"bash\t0\t5.2\t1.fc26\tx86_64\n",), (b"\t", b"'", b"\\")),
    "rpmbuild": Target(_rpmbuild, (_BUILT,), (b"error: ", b"(%prep)")),
    "spec": Target(_spec, (_SPEC,), (b"%if 1\n", b"Release:", b"%{?dist}")),
    "message": Target(_message, (_RECEIVE,), (b'"topic":', b'"msg":', b'"body":', b'"end_commit":', b"refs/heads/")),
    "gating": Target(_asked, _dumped(_ASKED, _WAIVER), (b'"verbose": true,', b'"waived": false,')),
}
