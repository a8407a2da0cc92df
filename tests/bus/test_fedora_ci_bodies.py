"""From what is known of a stage to a fedora-ci message: which phase, which result, of which artifact."""

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline import sections
from ci_pipeline.bus import fedora_ci, fedora_ci_bodies
from ci_pipeline.bus.fedora_ci import Phase, Result
from ci_pipeline.bus.fedora_ci_bodies import Contact, Moment
from ci_pipeline.errors import MessageError
from ci_pipeline.outcome import Fault, Status, TestOutcome
from ci_pipeline.stages import (
    BUILD_PACKAGE,
    COMPOSE_OSTREE,
    CONFORMANCE_TESTS,
    FUNCTIONAL_TESTS,
    GENERATE_IMAGE,
    INTEGRATION_TESTS,
    PROVISION_HOSTS,
    SMOKE_TEST,
    STAGES,
    Stage,
)
from tests.bus.stage_facts import CHANGE, COMPOSE_REV, CONTACT, ENDINGS, PREFIX, REV, facts

RESULTS = {
    (Status.SUCCESS, Fault.NONE): Result.PASSED,
    (Status.UNSTABLE, Fault.NONE): Result.NEEDS_INSPECTION,
    (Status.SKIPPED, Fault.NONE): Result.INFO,
    (Status.FAILURE, Fault.PACKAGE): Result.FAILED,
}
ERRORS = [
    (Status.FAILURE, Fault.INFRASTRUCTURE),
    (Status.FAILURE, Fault.NONE),
    (Status.ABORTED, Fault.NONE),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def _body(**others: Any) -> dict[str, Any]:
    return fedora_ci_bodies.body(facts(**others))[1]


def test_a_stage_that_ended_without_a_status_is_refused() -> None:
    """Nobody makes up a result."""
    with pytest.raises(MessageError, match="a stage that has ended has a status, and this one has none"):
        fedora_ci_bodies.body(facts(status=None))


@pytest.mark.parametrize("which", ["generated_at", "started_at", "ended_at"])
def test_a_time_without_a_zone_is_refused(which: str) -> None:
    """It could be any of 24."""
    with pytest.raises(MessageError, match=r"times with a time zone, which 2017-09-04 12:00:00 has not"):
        fedora_ci_bodies.body(facts(**{which: datetime(2017, 9, 4, 12)}))  # noqa: DTZ001 - what is tested


@pytest.mark.parametrize(("ending", "result"), RESULTS.items())
def test_what_has_a_result_is_complete(ending: tuple[Status, Fault], result: Result) -> None:
    """Tests that failed need inspection; a stage that was skipped is told and decides nothing."""
    assert fedora_ci_bodies.spoken(Moment.ENDED, *ending) == (Phase.COMPLETE, result)
    assert _body(status=ending[0], fault=ending[1])["test"]["result"] == result


@pytest.mark.parametrize(("status", "fault"), ERRORS)
def test_what_the_package_is_not_to_blame_for_is_an_error(status: Status, fault: Fault) -> None:
    """Also a failure nobody has explained."""
    phase, body = fedora_ci_bodies.body(facts(status=status, fault=fault, reason="the mirror is away"))

    assert phase is Phase.ERROR
    assert body["error"] == {"reason": "the mirror is away"}
    assert not {"result", "note"} & set(body["test"])
    assert "system" not in body


@pytest.mark.parametrize(("status", "fault"), ERRORS)
def test_an_error_always_has_a_reason(status: Status, fault: Fault) -> None:
    """The contract asks for one."""
    assert _body(status=status, fault=fault, reason="")["error"]["reason"].startswith("the ")


@pytest.mark.parametrize("moment", [Moment.QUEUED, Moment.RUNNING])
@pytest.mark.parametrize("status", [None, *Status])
def test_a_stage_that_goes_on_has_no_result(moment: Moment, status: Status | None) -> None:
    """Whatever a try before it has left."""
    phase, body = fedora_ci_bodies.body(
        facts(moment=moment, status=status, reason="old", xunit_urls=("http://a.example.org/junit.xml",))
    )

    assert phase == moment.value
    assert set(body["test"]) == {"type", "category", "namespace"}
    assert not {"error", "system"} & set(body)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize(("status", "fault"), ENDINGS)
def test_every_stage_with_every_outcome_makes_a_message(
    stage: Stage, moment: Moment, status: Status, fault: Fault
) -> None:
    """That its schema accepts, with as little known as can be, and with everything."""
    little = facts(
        stage=stage,
        moment=moment,
        status=status,
        fault=fault,
        issuer="",
        nvr="",
        package_url="",
        log_url="",
        started_at=None,
        ended_at=None,
    )
    much = dataclasses.replace(
        little,
        issuer="bob",
        nvr="greeter-1.0-1.fc26",
        compose_url="http://artifacts.example.org/ostree",
        compose_rev=COMPOSE_REV,
        image_name="fedora-atomic-26.391-9a9a9a9a9a9a9a9.qcow2",
        image_url="http://artifacts.example.org/images/a.qcow2",
        tests={TestOutcome.PASSED: 2, TestOutcome.FAILED: 1},
        reason="because",
        xunit_urls=("http://artifacts.example.org/junit.xml",),
    )

    made = [fedora_ci.make(phase, PREFIX, body) for phase, body in map(fedora_ci_bodies.body, (little, much))]

    assert [one.packages for one in made] == [["greeter"]] * 2
    assert [one.usernames for one in made] == [["fedora-atomic"], ["bob"]]
    assert made[0].body["artifact"]["id"] == made[1].body["artifact"]["id"]


@given(
    stage=st.sampled_from(STAGES),
    moment=st.sampled_from(Moment),
    ending=st.sampled_from(ENDINGS),
    texts=st.fixed_dictionaries({"reason": TEXT, "issuer": TEXT, "nvr": TEXT, "image_name": TEXT}),
    urls=st.lists(TEXT | st.just("http://artifacts.example.org/junit.xml"), max_size=3).map(tuple),
    tests=st.dictionaries(st.sampled_from(TestOutcome), st.integers(0, 10**6)),
)
def test_whatever_a_stage_leaves_it_makes_a_message(
    stage: Stage,
    moment: Moment,
    ending: tuple[Status, Fault],
    texts: dict[str, str],
    urls: tuple[str, ...],
    tests: dict[TestOutcome, int],
) -> None:
    """An odd sentence, name or file must not cost the news of the stage."""
    status, fault = ending
    phase, body = fedora_ci_bodies.body(
        facts(
            stage=stage,
            moment=moment,
            status=status,
            fault=fault,
            xunit_urls=urls,
            output_urls=urls,
            tests=tests,
            package_url="http://artifacts.example.org/caffé #1/",
            **texts,
        )
    )

    assert fedora_ci.make(phase, PREFIX, body).summary


def test_what_a_tool_has_said_is_made_printable() -> None:
    """Its colours and odd line ends; its lines stay."""
    error = _body(status=Status.ABORTED, reason="\x1b[31mno\nhost\u2028\x00")["error"]

    assert error == {"reason": " [31mno\nhost  "}


def test_the_steps_of_the_conformance_tests_are_one_test() -> None:
    """To the world they begin with the first and end with the last."""
    steps = [stage for stage in STAGES if stage.event == CONFORMANCE_TESTS.event]
    bodies = [_body(stage=stage) for stage in steps]

    assert steps[0] is PROVISION_HOSTS
    assert len(steps) == 4
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["test"]["type"] == "conformance-tests"


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        (BUILD_PACKAGE, "ci-pipeline.package.build-package.validation"),
        (FUNCTIONAL_TESTS, "ci-pipeline.package.functional-tests.functional"),
        (COMPOSE_OSTREE, "ci-pipeline.compose.compose-ostree.validation"),
        (INTEGRATION_TESTS, "ci-pipeline.compose.integration-tests.integration"),
        (GENERATE_IMAGE, "ci-pipeline.image.generate-image.validation"),
        (SMOKE_TEST, "ci-pipeline.image.smoke-test.system"),
        (CONFORMANCE_TESTS, "ci-pipeline.image.conformance-tests.validation"),
    ],
)
def test_a_test_has_a_name_to_gate_on(stage: Stage, named: str) -> None:
    """As the results database composes it: namespace, type, category."""
    test = _body(stage=stage)["test"]

    assert f"{test['namespace']}.{test['type']}.{test['category']}" == named


def test_the_artifact_is_the_same_from_the_first_message_to_the_last() -> None:
    """Whoever shows it joins the messages by its id; by the pipeline's id those of one test of it."""
    running = _body(stage=BUILD_PACKAGE, moment=Moment.RUNNING, nvr="", package_url="")
    complete = _body(stage=BUILD_PACKAGE)
    tested = _body(stage=FUNCTIONAL_TESTS)

    assert running["artifact"]["id"] == complete["artifact"]["id"] == tested["artifact"]["id"]
    assert running["pipeline"] == complete["pipeline"]
    assert complete["pipeline"]["id"] == "ci-pipeline-f26.464.build-package"
    assert tested["pipeline"]["id"] == "ci-pipeline-f26.464.functional-tests"


def test_other_artifacts_have_other_ids() -> None:
    """The package, the compose and the image of a run; another branch; for what a run makes, another run."""
    other = CHANGE.model_copy(update={"branch": "rawhide"})
    ids = [
        _body(stage=stage, **what)["artifact"]["id"]
        for stage, what in [
            (BUILD_PACKAGE, {}),
            (BUILD_PACKAGE, {"change": other}),
            (COMPOSE_OSTREE, {}),
            (COMPOSE_OSTREE, {"build_id": 465}),
            (COMPOSE_OSTREE, {"change": other}),
            (GENERATE_IMAGE, {}),
            (GENERATE_IMAGE, {"build_id": 465}),
        ]
    ]

    assert len(set(ids)) == len(ids)


def test_an_image_of_an_earlier_run_keeps_its_id() -> None:
    """A run without an image of its own may test the branch's newest."""
    made = _body(stage=SMOKE_TEST, build_id=460)
    tested = _body(stage=CONFORMANCE_TESTS, build_id=464, image_build_id=460)

    assert tested["artifact"]["id"] == made["artifact"]["id"]
    assert tested["pipeline"]["build"] == "464"


def test_the_id_can_be_computed_by_anyone() -> None:
    """It is the SHA-256 of what docs/messages.md says."""
    assert fedora_ci_bodies.identity(facts()) == f"package rpms/greeter@{REV} f26"
    assert fedora_ci_bodies.identity(facts(stage=INTEGRATION_TESTS)) == "compose f26/464"
    assert fedora_ci_bodies.identity(facts(stage=SMOKE_TEST)) == "image f26/464"
    assert _body(stage=SMOKE_TEST)["artifact"]["id"] == (
        "sha256:add97e02de37752e86ac68f0e60c8ed0decb0ce0f8f0ea0a268a81cc2634c5f4"
    )


def test_the_whole_body() -> None:
    """Of functional tests of which one failed."""
    body = _body(
        status=Status.UNSTABLE,
        reason="1 test failed",
        tests={TestOutcome.PASSED: 2, TestOutcome.FAILED: 1, TestOutcome.SKIPPED: 0},
        xunit_urls=("http://artifacts.example.org/464/tests 1.xml", "no address"),
    )

    assert body == {
        "contact": dataclasses.asdict(CONTACT),
        "run": {
            "url": "http://airflow.example.org/dags/ci-pipeline-f26/runs/rpms.greeter-35fdde9-f26-464",
            "log": "http://airflow.example.org/logs/464/functional_tests.log",
        },
        "artifact": {
            "type": "uncontrolled-build",
            "id": body["artifact"]["id"],
            "name": "greeter",
            "descriptor": "greeter-1.0-1.7.35fdde9.fc26",
            "mime_type": "application/x-rpm",
            "url": "http://artifacts.example.org/fedora-atomic/f26/repo/greeter_repo/",
            "issuer": "alice",
            "component": "greeter",
            "branch": "f26",
            "rev": REV,
            "nvr": "greeter-1.0-1.7.35fdde9.fc26",
        },
        "pipeline": {"id": "ci-pipeline-f26.464.functional-tests", "name": "ci-pipeline-f26", "build": "464"},
        "test": {
            "type": "functional-tests",
            "category": "functional",
            "namespace": "ci-pipeline.package",
            "result": "needs_inspection",
            "runtime": 30,
            "note": "1 failed, 2 passed; 1 test failed",
            "xunit_urls": ["http://artifacts.example.org/464/tests%201.xml"],
        },
        "system": [{"os": "fedora-26", "provider": "ci-pipeline", "architecture": "x86_64"}],
        "generated_at": "2017-09-04T12:00:31Z",
        "version": "1.0.0",
    }


def test_times_are_said_in_utc() -> None:
    """Whatever zone the facts are in."""
    east = timezone(timedelta(hours=5, minutes=30))

    assert _body(generated_at=datetime(2017, 9, 5, 2, tzinfo=east))["generated_at"] == "2017-09-04T20:30:00Z"
    assert _body(started_at=datetime(2017, 9, 4, 17, 30, tzinfo=east))["test"]["runtime"] == 31
    assert _body(started_at=datetime(2017, 9, 4, 13, tzinfo=UTC))["test"]["runtime"] == 0  # a clock that was put back


def test_the_settings_of_the_contact_are_good_for_a_message() -> None:
    """Nothing is found wrong only when the first message is due."""
    contact = Contact(**sections.Contact().model_dump())

    fedora_ci.check(*fedora_ci_bodies.body(facts(contact=contact)))
