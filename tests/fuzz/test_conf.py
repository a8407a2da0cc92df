"""Hundreds of confs of runs by hand, most of them hostile: each is a run of a valid change, or refused with why."""

from types import SimpleNamespace
from typing import Any, Final

import pytest
from airflow.sdk.exceptions import AirflowException
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline import settings, store
from ci_pipeline.change import Change
from ci_pipeline.conf import Conf
from ci_pipeline.store import runs
from operators import run_of
from tests.fuzz.conftest import Amount
from tests.fuzz.hostile import TEXTS, VALUES
from tests.fuzz.ledger import RUN_ID
from tests.fuzz.messages import MESSAGES
from tests.makers import REV

pytestmark = pytest.mark.usefixtures("database", "lines")

LONGEST_SENTENCE: Final = 600
GOOD: Final[dict[str, Any]] = {"namespace": "rpms", "repo": "greeter", "rev": REV}

_MESSAGE: Final = MESSAGES.map(lambda message: message.raw.decode(errors="replace"))
_HOSTILE: Final = st.dictionaries(st.sampled_from(sorted(Conf.model_fields)) | TEXTS, VALUES, min_size=1, max_size=3)
CONFS: Final = st.one_of(
    _HOSTILE,
    _HOSTILE.map(lambda fields: GOOD | fields),
    _MESSAGE.map(lambda message: {"message": message}),
    st.builds(lambda message, fields: {"message": message, **fields}, _MESSAGE, _HOSTILE),
    st.just(GOOD),
)
# What Airflow lets pass: it takes no other characters, and dots wherever they stand.
RUN_IDS: Final = st.one_of(
    st.integers(0, 2**32).map(lambda number: f"manual__{number}"),
    st.sampled_from(["..", ".", ".a", "--", "a..b", "-rf", "~", "a" * 250]),
)
KEYS: Final = st.none() | st.none() | TEXTS.map(lambda text: f"rpms/greeter@{text}") | TEXTS


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notes that were about to be written; dist-git is away: what has to be looked up is tried again later."""
    said: list[str] = []
    monkeypatch.setattr(run_of.notes, "write_change", lambda _, run: said.append(str(runs.change_of(run))))
    monkeypatch.setattr(run_of.notes, "write_refusal", lambda *words: said.append(words[-1]))
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", "http://127.0.0.1:9")
    settings.current.cache_clear()
    return said


@pytest.mark.timeout(0)
def test_a_conf_is_a_run_or_is_refused_with_a_sentence(
    current: settings.Settings, amount: Amount, told: list[str]
) -> None:
    """Nothing else comes of it, and nothing of it can steer who reads the note or the log."""
    counted = {"asked": 0, "run": 0}

    @amount.settings(amount.messages // 20)
    @given(CONFS, RUN_IDS, KEYS)
    def ask(conf: dict[str, Any], run_id: str, key: str | None) -> None:
        dag_run = SimpleNamespace(dag_id="ci-pipeline-f26", run_id=run_id, partition_key=key, run_type="manual")
        context: Any = {"dag_run": dag_run, "params": {**Conf().model_dump(), **conf}}
        counted["asked"] += 1
        try:
            counted["run"] += run_of.adopt(context)
        except AirflowException as error:
            told.append(str(error))
        assert all(sentence.isprintable() and len(sentence) <= LONGEST_SENTENCE for sentence in told), told
        told.clear()

    ask()
    with store.session() as session:
        stored = runs.recent(session, limit=amount.messages)
    changes = [runs.change_of(run) for run in stored]

    assert counted["asked"] >= amount.messages // 20
    assert len(stored) == counted["run"] > 0
    assert all(RUN_ID.fullmatch(run.run_id) for run in stored)
    assert all(Change.parse(**change.model_dump()) == change for change in changes)
