"""Notes in Airflow: our line, and what a person has written beside it. The real Airflow is in tests/e2e."""

import json

import httpx
import pytest

from ci_pipeline import notes, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from tests.makers import change, new_run, play

LINE = "rpms/greeter 35fdde9 f26"
ENDED = f"{LINE}: UNSTABLE: 2 of 41 tests failed (functional_tests)"


class Airflow:
    """The notes of one DAG run and of its tasks, behind Airflow's addresses."""

    def __init__(self) -> None:
        self.note: str | None = LINE
        self.tasks: dict[str, str | None] = {"build_package": None, "functional_tests": None, "generate_image": None}
        self.patched: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        if request.method == "PATCH":
            self.patched.append(path.rpartition("/")[2])
            self._set(path, json.loads(request.content)["note"])
        if path.endswith("/taskInstances"):
            listed = [{"task_id": task, "note": note} for task, note in self.tasks.items()]
            return httpx.Response(200, json={"task_instances": listed})
        return httpx.Response(200, json={"note": self.note})

    def _set(self, path: str, note: str) -> None:
        assert len(note) <= 1000, "Airflow takes no longer one"
        if "/taskInstances/" in path:
            self.tasks[path.rpartition("/")[2]] = note
        else:
            self.note = note


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    """An Airflow that keeps notes."""
    fake = Airflow()
    transport = httpx.MockTransport(fake)
    monkeypatch.setattr(notes, "AirflowApi", lambda settings: AirflowApi(settings, transport=transport))
    return fake


def ended(current: Settings, *statuses: Status, reason: str = "because") -> Run:
    """Store a run whose stages ended like this, with this reason."""
    run = new_run()
    play(current, run, *statuses)
    with store.session() as session:
        row = runs.locked(session, run.id)
        for result in runs.latest_results(session, run.id).values():
            result.reason = reason if result.status != Status.SUCCESS else ""
        Journal(session, current).finish_run(row)
    return row


@pytest.mark.usefixtures("database")
def test_airflow_being_away_is_only_logged(current: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """It is a note."""
    away = current.model_copy(update={"airflow": current.airflow.model_copy(update={"url": "http://127.0.0.1:9"})})
    run = ended(current, Status.FAILURE)
    notes.write(away, run.id)
    notes.write_change(away, run)
    notes.write_refusal(away, "ci-pipeline-f26", "manual__1", "nothing to do")

    assert [record.message[:35] for record in caplog.records] == [
        "the notes in Airflow stay as they a",
        "the note in Airflow stays as it is:",
        "the note in Airflow stays as it is:",
    ]


@pytest.mark.usefixtures("database")
def test_a_run_deleted_in_airflow_is_only_logged(
    current: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing to write a note at."""
    gone = httpx.MockTransport(
        lambda request: httpx.Response(404 if request.method == "GET" else 201, json={"access_token": ""})
    )
    monkeypatch.setattr(notes, "AirflowApi", lambda settings: AirflowApi(settings, transport=gone))
    notes.write(current, ended(current, Status.FAILURE).id)

    assert "stay as they are: Airflow answered 404" in caplog.text


@pytest.mark.usefixtures("database")
def test_the_note_says_how_a_run_ended_in_one_line(current: Settings, airflow: Airflow) -> None:
    """The change, the status, the reason, and the stage it is of."""
    notes.write(current, ended(current, Status.SUCCESS, Status.UNSTABLE, reason="2 of 41 tests\nfailed: a, b").id)

    assert airflow.note == f"{LINE}: UNSTABLE: 2 of 41 tests failed: a, b (functional_tests)"


@pytest.mark.usefixtures("database")
def test_red_and_skipped_stages_say_why_and_good_ones_nothing(current: Settings, airflow: Airflow) -> None:
    """The tasks that Airflow has; once is enough."""
    run = ended(current, *[Status.SUCCESS] * 4, Status.SKIPPED, reason="no image is due")
    airflow.tasks |= {"smoke_test": None}
    notes.write(current, run.id)
    notes.write(current, run.id)

    assert airflow.tasks["build_package"] is None
    assert airflow.tasks["generate_image"] == "SKIPPED: no image is due"
    assert airflow.patched.count("generate_image") == 1


@pytest.mark.usefixtures("database")
def test_what_a_person_wrote_at_a_task_stays(current: Settings, airflow: Airflow) -> None:
    """Ours is put before it."""
    airflow.tasks["build_package"] = "FAILURE: known, bug 12"
    notes.write(current, ended(current, Status.FAILURE, reason="%check failed").id)

    assert airflow.tasks["build_package"] == "FAILURE: %check failed\n\nFAILURE: known, bug 12"


@pytest.mark.usefixtures("database")
def test_a_run_that_begins_again_has_its_change_alone(current: Settings, airflow: Airflow) -> None:
    """How it ended before is history."""
    run = ended(current, Status.FAILURE)
    airflow.note = f"{LINE}: FAILURE: because (build_package)\n\nlooks like bug 12"
    notes.write_change(current, run)

    assert airflow.note == f"{LINE}\n\nlooks like bug 12"


def test_a_conf_that_is_refused_is_a_note_too(current: Settings, airflow: Airflow) -> None:
    """Of a run that never became one. What its author wrote stays."""
    airflow.note = "trying out mesa"
    notes.write_refusal(current, "ci-pipeline-f26", "manual__1", "no rev: give repo and rev")

    assert airflow.note == "FAILURE: no rev: give repo and rev\n\ntrying out mesa"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ENDED),
        (LINE, ENDED),
        (f"{LINE}: FAILURE: %check failed (build_package)", ENDED),
        (f"{LINE}: SUCCESS", ENDED),
        ("bug 12", f"{ENDED}\n\nbug 12"),
        (f"{LINE}\nbug 12", f"{ENDED}\n\nbug 12"),
        (f"{LINE}: FAILURE: x\n\nbug 12\n\nand 13", f"{ENDED}\n\nbug 12\n\nand 13"),
        (f"{LINE}: see bug 12", f"{ENDED}\n\n{LINE}: see bug 12"),
        (f"{LINE} is mine", f"{ENDED}\n\n{LINE} is mine"),
        ("FAILURE: it is the kernel", f"{ENDED}\n\nFAILURE: it is the kernel"),
        (f"bug 12\n{LINE}", f"{ENDED}\n\nbug 12"),
    ],
)
def test_our_line_is_renewed_and_a_persons_words_are_kept(before: str, after: str) -> None:
    """Written before it, behind it, in its place or beside it. Doing it twice is doing it once."""
    assert notes.merged(change(), ENDED, before) == after
    assert notes.merged(change(), ENDED, after) == after


@pytest.mark.parametrize("length", [0, 500, 900, 960, 985, 990, 1000])
def test_a_long_note_is_cut_where_it_is_ours(length: int) -> None:
    """Airflow takes 1000 characters."""
    theirs, line = "p" * length, f"{LINE}: FAILURE: {'x' * 600}"
    made = notes.merged(change(), line, theirs)

    assert len(made) <= 1000
    assert made.endswith(theirs)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("![x](http://evil/y.png)", r"!\[x\](http://evil/y.png)"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y\>"),
        ("`a` *b* ~~c~~ |", r"\`a\` \*b\* \~\~c\~\~ \|"),
        ("x" * 5000, "x" * 599 + "…"),
    ],
)
def test_what_a_package_says_is_nothing_but_text(current: Settings, airflow: Airflow, said: str, shown: str) -> None:
    """The UI shows notes as Markdown: no image is loaded, no link hidden."""
    notes.write(current, ended(current, Status.FAILURE, reason=said).id)

    assert airflow.note == f"{LINE}: FAILURE: {shown} (build_package)"
    assert airflow.tasks["build_package"] == f"FAILURE: {shown}"
