"""No secret of the stack is anywhere but at home: not in logs, messages, results, artifacts, databases or listings.

Each secret is a canary, made for this run of the tests. What other tests have done by now is searched as well.
"""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from ci_pipeline.cli.app import app
from ci_pipeline.settings import Settings
from ci_pipeline.stack import environment, record
from ci_pipeline.stack.handle import locate
from ci_pipeline.store.tables import Run
from tests.canaries import Canaries, is_private
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus, push, url_of
from tests.e2e.planting import DECOY, HOMES
from tests.e2e.test_a_change import run_of
from tests.e2e.watching import Watch

# What package code would look at for secrets: its environment, everyone else's, and the files of the stack.
NOSY = (
    "env; set; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n';"
    " find {state} -name '*.env' -o -name '*.json' -o -name '*.conf' 2>/dev/null | xargs cat 2>/dev/null;"
    " echo nobody tells {decoy}; {end}"
)
# Who may have secrets in the environment: Airflow's components and tasks, which use them, and who starts those.
MAY_KNOW = re.compile(r"^airflow |-m airflow |-m ci_pipeline\.stack\.successor ")
# Whoever is seen, so that the watch was no blind one: a playbook, a sandbox, a build, a machine under test.
SEEN = ("ansible-playbook", "bwrap", "rpmbuild", "qemu-system")
PAGES = ["/ci-pipeline/", "/ci-pipeline/images", "/ci-pipeline/bus", "/ci-pipeline-datahub/api/v1/openapi.json"]
# Lists of Airflow's API, over all DAGs and runs.
AIRFLOW = [
    *("connections", "variables", "pools", "eventLogs", "importErrors", "plugins", "providers", "dags"),
    *("jobs", "dagWarnings", "assets", "dags/~/dagRuns", "dags/~/dagRuns/~/taskInstances"),
]
DATAHUB = ["runs", "results", "tests", "images"]
COMMANDS = [
    *(["status"], ["status", "--json"], ["runs", "--json"], ["results", "--json"], ["images", "--json"]),
    *(["messages"], ["dead", "list", "--json"], ["audit", "--json"], ["up", "--json"]),
]
_LINKS = re.compile(r'(?:href|src|data-[a-z]+)="([^"#]+)')
_MOST_PAGES = 120


@pytest.fixture(scope="session")
def nosy_rev(bus: Bus, distgit: DistGit, pipeline: Settings, canaries: Canaries, good: list[dict[str, Any]]) -> str:
    """A change whose package prints all it finds in its build and in its tests, and a secret that it knows."""
    asked = {"state": pipeline.state, "decoy": canaries.planted[DECOY]}
    look = NOSY.format(**asked, end="true")
    run = json.dumps(NOSY.format(**asked, end="exit 1"))
    files = package("greeter", "7.0", check=look.replace("%", "%%"), run=run)
    rev = distgit.commit("greeter", files)
    push(bus, Path(__file__).parents[1] / "data" / "messages", "greeter", rev)
    bus.wait_for("complete", rev)
    return rev


@pytest.fixture
def nosy(nosy_rev: str) -> Run:
    """Its run, which has ended."""
    return run_of(nosy_rev)


@pytest.fixture(scope="session")
def others(canaries: Canaries) -> Canaries:
    """All but the one that packages print."""
    return canaries.without(DECOY)


@pytest.fixture(scope="session")
def _connected(api: httpx.Client, canaries: Canaries) -> None:
    """A connection with secrets, put in by a person through Airflow's API."""
    extra = json.dumps({"kube_config": {"users": [{"user": {"token": canaries.planted["extra"]}}]}})
    told = {"connection_id": "canaries", "conn_type": "kubernetes", "password": canaries.planted["connection"]}
    api.post("/api/v2/connections", json={**told, "extra": extra}).raise_for_status()


pytestmark = [
    pytest.mark.xdist_group("canaries"),
    pytest.mark.usefixtures("nosy_rev", "_connected"),
]


@pytest.fixture(scope="session")
def held(pipeline: Settings, others: Canaries, nosy_rev: str) -> dict[str, set[str]]:
    """The files below the state folder that hold secrets, once two runs have ended."""
    return others.in_tree(pipeline.state)


def test_no_file_holds_a_secret_but_those_it_is_at_home_in(held: dict[str, set[str]]) -> None:
    """Logs of components and tasks, requests, results, artifacts, the databases' files, all of it."""
    assert [path for path in held if not any(fnmatch(path, home) for home in HOMES)] == []


def test_whoever_may_not_read_a_home_cannot(held: dict[str, set[str]], pipeline: Settings) -> None:
    """Each is for its owner alone; and each of them that is looked for is there."""
    there = {path for path in held if (pipeline.state / path).exists()}

    assert {home for home in HOMES if "*" not in home} <= there
    assert [path for path in there if not is_private(pipeline.state / path)] == []


def test_no_table_holds_a_secret(pipeline: Settings, others: Canaries) -> None:
    """Of ours and of Airflow's: XCom, logs, rendered fields, notes, confs, DAGs; connections are encrypted there."""
    layout = locate(pipeline.state)
    known = record.load(layout)
    assert known
    variables = environment.variables(layout, known, record.load_or_create_secrets(layout))

    assert others.in_database(variables["CI_PIPELINE_DATABASE__URL"]) == {}
    assert others.in_database(variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]) == {}


def test_no_message_holds_a_secret(bus: Bus, others: Canaries) -> None:
    """As an independent client got them from the broker, in every contract."""
    messages = bus.all()

    assert len(messages) > 10
    assert others.in_json(messages) == set()


def test_no_page_shows_a_secret(api: httpx.Client, nosy: Run, others: Canaries) -> None:
    """Nor what our pages link to, nor the APIs: the datahub's, and Airflow's with all it lists."""
    waiting = [*PAGES, *(f"/ci-pipeline-datahub/api/v1/{name}" for name in DATAHUB)]
    waiting += [f"{url_of(nosy, 'build_package')}/{part}" for part in ("xcomEntries", "renderedFields")]
    waiting += [f"/api/v2/{name}" for name in AIRFLOW]
    seen: dict[str, int] = {}
    while waiting and len(seen) < _MOST_PAGES:
        page = waiting.pop(0)
        if page in seen:
            continue
        answer = api.get(page, headers={"accept": "text/html, */*"})
        seen[page] = answer.status_code

        assert others.in_bytes(answer.content) == set(), page
        assert others.in_text(str(answer.headers)) == set(), page

        if answer.headers.get("content-type", "").startswith("text/html"):
            found = {urljoin(page, link.replace("&amp;", "&")) for link in _LINKS.findall(answer.text)}
            waiting += sorted(link for link in found if not urlsplit(link).netloc and link.startswith("/ci-pipeline"))

    assert len([page for page, status in seen.items() if status == 200]) > 20, seen


def test_no_log_in_airflow_shows_a_secret(api: httpx.Client, nosy: Run, canaries: Canaries) -> None:
    """Not even one that a package prints: what the pipeline knows is masked, in the logs of tasks as well."""
    logs = ""
    for task in ("build_package", "functional_tests"):
        path = f"/api/v2/dags/{nosy.dag_id}/dagRuns/{nosy.run_id}/taskInstances/{task}/logs/1"
        logs += api.get(path, params={"full_content": True}, headers={"accept": "application/x-ndjson"}).text

    assert canaries.in_text(logs) == set()
    assert "nobody tells ***" in logs


def test_package_code_had_what_it_printed_and_no_secret(nosy: Run, pipeline: Settings, canaries: Canaries) -> None:
    """It ran: what it printed is in its own log, with what its environment has, and the secret it knew itself."""
    folder = pipeline.state / "runs" / nosy.dag_id / nosy.run_id
    told = [log for log in folder.rglob("*.log") if b"nobody tells canary" in log.read_bytes()]

    assert {log.relative_to(folder).parts[0] for log in told} >= {"build_package-1", "functional_tests-1"}
    for log in told:
        assert b"PATH=" in log.read_bytes()
        assert canaries.in_file(log) == {DECOY}


def test_no_process_was_listed_with_a_secret(watch: Watch) -> None:
    """On no command line; in the environment of Airflow's processes alone: no playbook, build or machine had one."""
    seen, commands = watch.seen(), watch.commands()
    knew = {one.command for one in seen if one.where == "environ"}

    # The shell of the package's own test has the word it prints.
    assert [one for one in seen if one.where == "cmdline" and one.names != {DECOY}] == []
    assert [command for command in knew if not MAY_KNOW.search(command)] == []
    assert any("airflow" in command for command in knew)
    for program in SEEN:
        assert any(program in command for command in commands), program


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_prints_a_secret(words: list[str], others: Canaries) -> None:
    """Only `password` does, which is what it is for."""
    result = CliRunner().invoke(app, words)

    assert others.in_text(result.output) == set()
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_why_shows_no_secret(nosy: Run, others: Canaries) -> None:
    """Of the run that printed one, too."""
    for words in (["why", nosy.run_id], ["why", nosy.run_id, "--json"], ["results", "--run", nosy.run_id]):
        assert others.in_text(CliRunner().invoke(app, words).output) == set()


def test_password_is_the_one_command_that_shows_its_secret(canaries: Canaries) -> None:
    """And only that one: so the search above would have found it."""
    assert canaries.in_text(CliRunner().invoke(app, ["password", "--json"]).output) == {"airflow_admin"}
