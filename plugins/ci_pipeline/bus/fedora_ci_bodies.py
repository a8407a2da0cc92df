"""From what is known of a stage to a fedora-ci message about it. Pure: no clock, no settings, no database.

Each stage is a test, of the package, the compose or the image of its run. Such an artifact has no id of a build system,
and is tested before it exists; so its id is the checksum of what it is *of*, and the same from `queued` to the end.
"""

import hashlib
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from ci_pipeline.bus.fedora_ci import ARTIFACT, Phase, Result
from ci_pipeline.bus.patterns import ACCOUNT, UNPRINTABLE, URL
from ci_pipeline.change import Change
from ci_pipeline.errors import MessageError
from ci_pipeline.outcome import Fault, Status, TestOutcome
from ci_pipeline.stages import (
    BUILD_PACKAGE,
    COMPOSE_OSTREE,
    CONFORMANCE_TESTS,
    FUNCTIONAL_TESTS,
    GENERATE_IMAGE,
    INTEGRATION_TESTS,
    SMOKE_TEST,
    Stage,
)

VERSION: Final = "1.0.0"
PIPELINE: Final = "ci-pipeline"  # namespace of the tests, and who provides the hosts they run on
ACCOUNT_OF_THE_PIPELINE: Final = "fedora-atomic"


class Moment(StrEnum):
    """When a stage is spoken of."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Subject(StrEnum):
    """What a stage makes or tests."""

    PACKAGE = "package"
    COMPOSE = "compose"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Whom to ask about a message: name of the system, its team, page, documentation and mail address."""

    name: str
    team: str
    url: str
    docs: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFacts:
    """What is known of a stage at one moment. `""` is "not known (yet)".

    Attributes:
        moment: Queued, running or ended.
        stage: Which. The steps of the conformance tests are one test.
        change: What was pushed, and the branch.
        contact: Whom to ask.
        ref: OSTree ref of the run: `fedora/f26/x86_64/atomic-host`.
        arch: Architecture of the hosts: `x86_64`.
        dist_git_branch: The branch of dist-git that is built, if the pipeline calls it something else.
        build_id: The run's number, counting up per branch.
        build_url: Page of the run.
        log_url: Log of the stage.
        generated_at: When this became true; with a time zone, as the next two.
        started_at: When the stage began.
        ended_at: When it ended.
        status: The stage's own, once it has ended; also SKIPPED.
        fault: Whose fault a FAILURE is.
        reason: Why it ended so, in a sentence.
        issuer: The account that pushed.
        original_spec_nvr: NVR of the unmodified spec.
        nvr: Stamped NVR.
        package_url: Where the package's repository is.
        compose_url: Where the OSTree repository is.
        compose_rev: OSTree commit, 64 hex digits.
        image_build_id: Number of the run that made the image, if it was another one.
        image_name: Name of the image.
        image_url: Where it is.
        xunit_urls: The stage's JUnit files.
        output_urls: Its other artifacts.
        tests: How many test cases came out how.
    """

    moment: Moment
    stage: Stage
    change: Change
    contact: Contact
    ref: str
    arch: str
    build_id: int
    build_url: str
    log_url: str = ""
    generated_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    status: Status | None = None
    fault: Fault = Fault.NONE
    reason: str = ""
    issuer: str = ""
    original_spec_nvr: str = ""
    nvr: str = ""
    package_url: str = ""
    compose_url: str = ""
    compose_rev: str = ""
    image_build_id: int | None = None
    image_name: str = ""
    image_url: str = ""
    xunit_urls: tuple[str, ...] = ()
    output_urls: tuple[str, ...] = ()
    dist_git_branch: str = ""
    tests: Mapping[TestOutcome, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Test:
    type: str
    category: str
    subject: Subject


# By the event a stage announces, so that all steps of the conformance tests are one.
TESTS: Final = {
    BUILD_PACKAGE.event: _Test("build-package", "validation", Subject.PACKAGE),
    FUNCTIONAL_TESTS.event: _Test("functional-tests", "functional", Subject.PACKAGE),
    COMPOSE_OSTREE.event: _Test("compose-ostree", "validation", Subject.COMPOSE),
    INTEGRATION_TESTS.event: _Test("integration-tests", "integration", Subject.COMPOSE),
    GENERATE_IMAGE.event: _Test("generate-image", "validation", Subject.IMAGE),
    SMOKE_TEST.event: _Test("smoke-test", "system", Subject.IMAGE),
    CONFORMANCE_TESTS.event: _Test("conformance-tests", "validation", Subject.IMAGE),
}
# No type is registered for an OSTree commit.
_MIME_TYPES: Final = {
    Subject.PACKAGE: "application/x-rpm",
    Subject.COMPOSE: "application/octet-stream",
    Subject.IMAGE: "application/x-qemu-disk",
}
_RESULTS: Final = {
    (Status.SUCCESS, Fault.NONE): Result.PASSED,
    (Status.UNSTABLE, Fault.NONE): Result.NEEDS_INSPECTION,
    (Status.SKIPPED, Fault.NONE): Result.INFO,
    (Status.FAILURE, Fault.PACKAGE): Result.FAILED,
}
_REASONS: Final = {Status.ABORTED: "the stage was ended", Status.FAILURE: "the infrastructure failed the stage"}
_WORST_FIRST: Final = (
    TestOutcome.FAILED,
    TestOutcome.ERROR,
    TestOutcome.QUARANTINED,
    TestOutcome.PASSED_ON_RERUN,
    TestOutcome.PASSED,
    TestOutcome.SKIPPED,
)
# What an address may consist of; anything else in it is written as %XX.
_IN_URLS: Final = "%/:?#[]@!$&'()*+,;=~"


def spoken(moment: Moment, status: Status | None, fault: Fault) -> tuple[Phase, Result | None]:
    """Return the phase, and in `complete` the result, of a stage at a moment.

    Only what is known to be the package's failure is its result; any other failure, and what someone or a limit ended,
    is an `error`: nothing is known of the change.

    Raises:
        MessageError: the stage has ended and its status is not known.
    """
    if moment is not Moment.ENDED:
        return Phase(moment), None
    if status is None:
        raise MessageError("a stage that has ended has a status, and this one has none")
    result = _RESULTS.get((status, fault if status is Status.FAILURE else Fault.NONE))
    return (Phase.COMPLETE, result) if result else (Phase.ERROR, None)


def body(facts: StageFacts) -> tuple[Phase, dict[str, Any]]:
    """Return the phase of a stage's message, and the body.

    Raises:
        MessageError: the stage has ended and its status is not known, or a time has no time zone.
    """
    phase, result = spoken(facts.moment, facts.status, facts.fault)
    common = {
        "contact": _contact(facts.contact),
        "run": {"url": _address(facts.build_url), "log": _address(facts.log_url or facts.build_url)},
        "artifact": _artifact(facts),
        "pipeline": _pipeline(facts),
        "test": _test(facts, result),
        "generated_at": _time(facts.generated_at),
        "version": VERSION,
    }
    return phase, _printable(common | _ending(facts, phase))


def _ending(facts: StageFacts, phase: Phase) -> dict[str, Any]:
    if phase is Phase.COMPLETE:
        return {
            "system": [
                {
                    "os": _system(facts.dist_git_branch or facts.change.branch),
                    "provider": PIPELINE,
                    "architecture": facts.arch,
                }
            ]
        }
    if phase is Phase.ERROR and facts.status:
        return {"error": {"reason": facts.reason or _REASONS[facts.status]}}
    return {}


def _printable(value: Any) -> Any:
    """Return a value of JSON with a space for each character its texts must not have: a tool said it, not we."""
    if isinstance(value, dict):
        return {key: _printable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_printable(inner) for inner in value]
    return re.sub(f"[{UNPRINTABLE}]", " ", value) if isinstance(value, str) else value


def _contact(contact: Contact) -> dict[str, str]:
    return {
        "name": contact.name,
        "team": contact.team,
        "url": _address(contact.url),
        "docs": _address(contact.docs),
        "email": contact.email,
    }


def _pipeline(facts: StageFacts) -> dict[str, str]:
    name = f"{PIPELINE}-{facts.change.branch}"
    number = str(facts.build_id)
    return {"id": f"{name}.{number}.{TESTS[facts.stage.event].type}", "name": name, "build": number}


def _artifact(facts: StageFacts) -> dict[str, str]:
    subject = TESTS[facts.stage.event].subject
    name, descriptor, url = _described(facts)[subject]
    return {
        "type": ARTIFACT,
        "id": f"sha256:{hashlib.sha256(identity(facts).encode()).hexdigest()}",
        "name": name,
        "descriptor": descriptor,
        "mime_type": _MIME_TYPES[subject],
        "url": _address(url or facts.build_url),
        "issuer": facts.issuer if re.search(ACCOUNT, facts.issuer) else ACCOUNT_OF_THE_PIPELINE,
        "component": facts.change.repo,
        "branch": facts.change.branch,
        "rev": facts.change.rev,
    } | {key: value for key, value in (("nvr", facts.nvr), ("compose_rev", facts.compose_rev)) if value}


def identity(facts: StageFacts) -> str:
    """Return what the artifact of a stage is of: its checksum is the artifact's id.

    A package is of its change on a branch, `package rpms/mesa@<rev> f26`; a compose and an image are of a run,
    `compose f26/464`.
    """
    change, subject = facts.change, TESTS[facts.stage.event].subject
    if subject is Subject.PACKAGE:
        return f"{subject} {change.partition_key} {change.branch}"
    made_by = facts.image_build_id if subject is Subject.IMAGE else None
    return f"{subject} {change.branch}/{facts.build_id if made_by is None else made_by}"


def _described(facts: StageFacts) -> dict[Subject, tuple[str, str, str]]:
    """Return the name of what the stage makes or tests, what tells it from others, and its address if it has one."""
    unmade = f"{facts.ref} {identity(facts)}"
    return {
        Subject.PACKAGE: (
            facts.change.repo,
            facts.nvr or facts.original_spec_nvr or str(facts.change),
            facts.package_url,
        ),
        Subject.COMPOSE: (
            facts.ref,
            f"{facts.ref} {facts.compose_rev}" if facts.compose_rev else unmade,
            facts.compose_url,
        ),
        Subject.IMAGE: (facts.ref, facts.image_name or unmade, facts.image_url),
    }


def _test(facts: StageFacts, result: Result | None) -> dict[str, Any]:
    test = TESTS[facts.stage.event]
    named = {"type": test.type, "category": test.category, "namespace": f"{PIPELINE}.{test.subject}"}
    if facts.moment is not Moment.ENDED:
        return named
    found = {
        "note": _note(facts, result),
        "xunit_urls": _addresses(facts.xunit_urls),
        "output_urls": _addresses(facts.output_urls),
    }
    measured = {"result": str(result), **_runtime(facts)} if result else {}
    return {**named, **measured, **{key: value for key, value in found.items() if value}}


def _note(facts: StageFacts, result: Result | None) -> str:
    """Return the counts, worst first, and the reason, which in an `error` has a place of its own."""
    counts = ", ".join(f"{facts.tests[outcome]} {outcome}" for outcome in _WORST_FIRST if facts.tests.get(outcome))
    return "; ".join(part for part in (counts, facts.reason if result else "") if part)


def _runtime(facts: StageFacts) -> dict[str, int]:
    if facts.started_at is None or facts.ended_at is None:
        return {}
    return {"runtime": max(0, round((_aware(facts.ended_at) - _aware(facts.started_at)).total_seconds()))}


def _addresses(urls: tuple[str, ...]) -> list[str]:
    """Return those that are addresses: one odd file name must not cost the message."""
    written = (_address(url) for url in urls)
    return [url for url in written if re.search(URL, url)]


def _address(url: str) -> str:
    return urllib.parse.quote(url, safe=_IN_URLS)


def _system(branch: str) -> str:
    numbered = re.fullmatch(r"f([0-9]+)", branch)
    return f"fedora-{numbered[1] if numbered else branch}"


def _time(moment: datetime) -> str:
    return _aware(moment).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        msg = f"a message needs times with a time zone, which {moment} has not"
        raise MessageError(msg)
    return moment
