"""With 100,000 runs stored every page is a handful of queries, and each of them uses an index."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from ci_pipeline import store
from ci_pipeline.gating import deciding
from ci_pipeline.gating.deciding import Question
from ci_pipeline.gating.decision import Subject
from ci_pipeline.gating_sections import Policy
from ci_pipeline.settings import Settings
from tests.plans import Statement, filled_with, listening, read_whole, steps_of

RUNS = 100_000

FILL = [
    """
    INSERT INTO run (id, dag_id, run_id, number, namespace, repo, rev, branch, test_guidance, status, created_at,
                     fired_at, ended_at)
    SELECT n, 'ci-pipeline-' || branch, 'run-' || n, n, 'rpms', 'package' || n % 500, md5(n::text) || '01234567',
           branch, '', CASE WHEN n > :runs - 20 THEN NULL WHEN n % 9 = 0 THEN 'FAILURE' ELSE 'SUCCESS' END,
           now() - (:runs - n) * interval '1 minute', now(), now()
    FROM (SELECT n, CASE WHEN n % 2 = 0 THEN 'f26' ELSE 'rawhide' END AS branch FROM generate_series(1, :runs) n) x
    """,
    """
    INSERT INTO inbound (id, message_id, topic, digest, body, state, namespace, repo, rev, branch, run)
    SELECT n, 'message-' || n, 'git.receive', '', '{}',
           CASE WHEN n % 1000 = 0 THEN 'dead' WHEN n % 5 = 0 THEN 'ignored' ELSE 'queued' END,
           'rpms', 'package' || n % 500, md5(n::text) || '01234567', CASE WHEN n % 2 = 0 THEN 'f26' ELSE 'rawhide' END,
           CASE WHEN n % 5 <> 0 THEN n END
    FROM generate_series(1, :runs) n
    """,
    """
    INSERT INTO stage_result (id, run_id, stage, try_number, status, fault, nvr, original_spec_nvr, outputs, ended_at)
    SELECT n, n, 'build_package', 1, CASE WHEN n % 9 = 0 THEN 'FAILURE' ELSE 'SUCCESS' END, '',
           'package-1.0-' || n, 'package-1.0-' || n % 20000,
           jsonb_build_object('nvr', 'package-1.0-' || n, 'original_spec_nvr', 'package-1.0-' || n % 20000), now()
    FROM generate_series(1, :runs) n
    """,
    """
    INSERT INTO test_result (id, stage_result_id, name, outcome, seconds, message)
    SELECT n, n, 'test', CASE WHEN n % 500 = 0 THEN 'failed' ELSE 'passed' END, 1, '' FROM generate_series(1, :runs) n
    """,
    """
    INSERT INTO artifact (id, stage_result_id, name, kind, path, sha256, size)
    SELECT n, n, 'log', 'log', '/log', '', 1 FROM generate_series(1, :runs) n
    """,
    """
    INSERT INTO outbox (id, run_id, inbound_id, event, topic, body, published_at, parked_at)
    SELECT md5(n::text)::uuid, n, n, 'package.running', 'org.x', '{"status": "SUCCESS"}',
           CASE WHEN n % 2000 > 0 THEN now() END, CASE WHEN n % 4000 = 0 THEN now() END
    FROM generate_series(1, :runs) n
    """,
    """
    INSERT INTO waiver (subject_type, subject_identifier, product_version, testcase, waived, who, why)
    SELECT 'koji_build', 'package-1.0-' || n, 'fedora-26', 'org.x', true, 'someone', '' FROM generate_series(1, :runs) n
    """,
    """
    INSERT INTO image (id, run_id, branch, name, compose_rev, version, sha256, size, smoke_passed_at)
    SELECT n, n, CASE WHEN n % 2 = 0 THEN 'f26' ELSE 'rawhide' END, 'image-' || n, '', '26.' || n, '', 1,
           CASE WHEN n % 3 = 0 THEN now() END
    FROM generate_series(1, :runs / 5) n
    """,
]
# Whatever is looked for, and however many queries it may be. With a session of its own each, and no N+1.
PAGES = {
    "": 4,
    "?branch=f26": 4,
    "?status=FAILURE": 3,
    "?status=running": 3,
    "?package=age1": 4,
    "?branch=f26&package=49&status=SUCCESS&after=f26:rpms:package2": 3,
    "images": 2,
    "bus": 11,
    "bus?state=dead": 11,
    "bus?package=package7&before=90000": 11,
    "bus?state=queued&package=package7": 11,
    "change/f26/50000": 13,
    "change/run-50000": 13,
    "change/run-50000?dag=ci-pipeline-f26": 13,
    "change/1017bfd4673955ffee4641ad3d481b1c01234567": 13,
    "change/1017bfd46739": 13,
    "change/package-1.0-50000": 13,
    "change/package-1.0-7": 6,
    "change/message-50001": 13,
    "change/50001": 13,
    "change/nothing-of-that-name": 6,
}


# One worker fills its database, and asks it everything.
pytestmark = pytest.mark.xdist_group("scale of the pages")


@pytest.fixture(scope="module")
def filled(servers: object) -> Iterator[None]:
    """A database of years."""
    with filled_with(FILL, runs=RUNS):
        yield


@pytest.fixture
def asked(current: Settings) -> Iterator[list[Statement]]:
    """Every statement that is sent, with its parameters."""
    with listening(current) as statements:
        yield statements


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", ["package-1.0-50000", "package-1.0-7", "nothing-1-1"])
def test_a_decision_is_a_few_queries_that_use_indexes(current: Settings, asked: list[Statement], name: str) -> None:
    """Of a built NVR, of the one of a spec that was built often, and of one nobody knows."""
    policy = Policy(id="p", product_versions=["*"], decision_contexts=["x"], tests=["package"], only_gating=False)
    gated = current.model_copy(update={"policies": [policy]})
    question = Question((Subject("koji_build", name),), "fedora-26", ("x",))
    with store.session() as session:
        deciding.answer(session, gated, question)
    sent = list(asked)

    assert len(sent) <= 3
    for statement, parameters in sent:
        assert not read_whole(steps_of(statement, parameters)), statement


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_a_few_queries_that_use_indexes(client: TestClient, asked: list[Statement], path: str) -> None:
    """No query per row, and no large table is read from its beginning."""
    answer = client.get(f"/ci-pipeline/{path}")
    sent = list(asked)

    assert answer.status_code in {200, 404}
    assert 0 < len(sent) <= PAGES[path], [statement for statement, _ in sent]
    for statement, parameters in sent:
        scanned = read_whole(steps_of(statement, parameters))

        assert not scanned, f"{sorted(scanned)} read from the beginning by {statement}"
