"""With 120,000 results stored every page is a few queries, each of which reads little more than it shows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from ci_pipeline.settings import Settings
from tests.datahub.api.conftest import API
from tests.plans import Statement, filled_with, listening, read_whole, rows_read, steps_of

RUNS = 20_000
# What a page of 50 may read of all tables: some rows per line, and what a filter of some hundred hits has to sort.
MOST_READ = 12_000

FILL = [
    """
    INSERT INTO run (id, dag_id, run_id, number, namespace, repo, rev, branch, test_guidance, kind, lane, status,
                     created_at, fired_at, ended_at)
    SELECT n, 'ci-pipeline-' || branch, 'run-' || n, n, CASE WHEN n % 4000 = 7 THEN 'modules' ELSE 'rpms' END,
           'package' || n % 500, md5(n::text) || '01234567', branch, '',
           CASE WHEN n % 2000 = 6 THEN 'backfill' ELSE 'push' END, CASE WHEN n % 2000 = 11 THEN 'storm' ELSE 'live' END,
           CASE WHEN n > :runs - 20 THEN NULL WHEN n % 5000 = 9 THEN 'ABORTED' WHEN n % 9 = 0 THEN 'FAILURE'
                ELSE 'SUCCESS' END,
           ended, ended, CASE WHEN n <= :runs - 20 THEN ended END
    FROM (SELECT n, CASE WHEN n % 2 = 0 THEN 'f26' ELSE 'rawhide' END AS branch,
                 now() - (:runs - n) * interval '1 hour' AS ended FROM generate_series(1, :runs) n) x
    """,
    """
    INSERT INTO stage_result (id, run_id, stage, try_number, status, nvr, original_spec_nvr, compose_rev, started_at,
                              ended_at)
    SELECT run.id * 6 + s, run.id,
           (ARRAY['build_package', 'functional_tests', 'compose_ostree', 'integration_tests', 'generate_image',
                  'smoke_test'])[s + 1], 1,
           CASE WHEN s = 5 THEN run.status WHEN run.id % 3000 = 5 THEN 'ABORTED' ELSE 'SUCCESS' END,
           'package-1.0-' || run.id, 'package-1.0-' || run.id % 10000,
           CASE WHEN s > 1 THEN md5(run.id::text) || md5(run.id::text) ELSE '' END, run.created_at, run.ended_at
    FROM run, generate_series(0, 5) s
    """,
    """
    INSERT INTO test_result (id, stage_result_id, name, outcome, seconds, message)
    SELECT stage_result.id * 2 + t, stage_result.id, CASE WHEN t = 0 THEN 'boots' ELSE 'test-' || run_id % 2000 END,
           CASE WHEN stage_result.id % 20000 = 0 THEN 'error' WHEN stage_result.id % 5000 = t THEN 'failed'
                ELSE 'passed' END, 1, ''
    FROM stage_result, generate_series(0, 1) t
    """,
    """
    INSERT INTO artifact (id, stage_result_id, name, kind, path, sha256, size)
    SELECT id, id, 'log', 'log', '/log', '', 1 FROM stage_result
    """,
    """
    INSERT INTO image (id, run_id, branch, name, compose_rev, version, sha256, size)
    SELECT id, id, branch, 'image-' || id, '', '26.' || id, '', 1 FROM run
    """,
]
LONG_AGO = datetime.now(UTC) - timedelta(hours=10_000)
DAY = f"since={LONG_AGO:%Y-%m-%dT%H:%M:%SZ}&until={LONG_AGO + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
# Every filter, alone and in company, as selective as it may be; and how many queries it may be.
QUERIES = {
    "runs": 1,
    "runs?cursor=10000&limit=500": 1,
    "runs?namespace=modules": 1,
    "runs?repo=package7": 1,
    "runs?repo=nothing": 1,
    "runs?branch=f27": 1,
    "runs?ref=candidate/f26/2006": 1,
    "runs?ref=fedora/f26/x86_64/atomic-host&repo=package6": 1,
    "runs?rev=c4ca4238a0b923820dcc509a6f75849b01234567": 1,
    "runs?kind=backfill": 1,
    "runs?lane=storm": 1,
    "runs?lane=live": 1,
    "runs?outcome=RUNNING": 1,
    "runs?outcome=ABORTED": 1,
    "runs?since=2100-01-01T00:00:00Z": 1,
    "runs?until=2000-01-01T00:00:00Z": 1,
    f"runs?{DAY}": 1,
    "runs/f26/10000": 4,
    "results": 4,
    "results?cursor=60000&limit=500": 5,  # artifacts are loaded for 500 results at a time; one more is looked at
    "results?run=f26/10000": 4,
    "results?run=f26/10000000": 3,
    "results?nvr=package-1.0-10000": 4,
    "results?nvr=nothing": 3,
    "results?original_spec_nvr=package-1.0-77": 4,
    "results?compose_rev=" + "0" * 64: 3,
    "results?namespace=modules": 4,
    "results?repo=package7": 4,
    "results?repo=nothing": 3,
    "results?branch=f27": 3,
    "results?ref=candidate/f26/2006": 4,
    "results?rev=c4ca4238a0b923820dcc509a6f75849b01234567": 4,
    "results?kind=backfill": 4,
    "results?lane=storm": 4,
    "results?stage=smoke_test&outcome=ABORTED": 4,
    "results?outcome=ABORTED": 4,
    "results?outcome=RUNNING": 4,
    "results?since=2100-01-01T00:00:00Z": 3,
    "results?until=2000-01-01T00:00:00Z": 3,
    f"results?{DAY}": 4,
    f"tests?{DAY}": 1,
    "results?repo=package7&stage=build_package&branch=rawhide": 4,
    "results/f26/10000/build_package/1": 4,
    "results/f26/10000/build_package/1/tests": 3,
    "tests": 1,
    "tests?cursor=100000&limit=500": 1,
    "tests?name=test-77": 1,
    "tests?name=nothing": 1,
    "tests?name=boots": 1,
    "tests?name=boots&outcome=failed": 1,
    "tests?outcome=error": 1,
    "tests?outcome=quarantined": 1,
    "tests?nvr=package-1.0-10000": 1,
    "tests?run=f26/10000&outcome=failed": 1,
    "tests?repo=package7&outcome=failed": 1,
    "tests?result_outcome=ABORTED": 1,
    "tests?result_outcome=RUNNING": 1,
    "images": 1,
    "images?branch=f27": 1,
    "images/image-10000": 1,
}


# One worker fills its database, and asks it everything.
pytestmark = pytest.mark.xdist_group("scale of the api")


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
@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.replace(DAY, "DAY"))
def test_a_page_is_a_few_queries_that_read_little(client: TestClient, asked: list[Statement], path: str) -> None:
    """No query per row; no large table is read from its beginning, neither in a row nor along an index."""
    answer = client.get(f"{API}/{path}")
    sent = list(asked)

    assert answer.status_code == 200, answer.text
    assert 0 < len([one for one in sent if "TIME ZONE" not in one[0]]) <= QUERIES[path], [one for one, _ in sent]
    for statement, parameters in sent:
        if not statement.startswith("SELECT"):
            continue
        steps = steps_of(statement, parameters, carried_out=True)

        assert not read_whole(steps), statement
        assert rows_read(steps) <= MOST_READ, f"{rows_read(steps)} rows are read by {statement}"
