"""The DAGs: what an operator sees in the Airflow UI."""

import importlib.util
from types import ModuleType

import pytest
from airflow.sdk import DAG

from ci_pipeline import settings
from ci_pipeline.stages import STAGES
from operators.stage import StageOperator


def load(name: str) -> ModuleType:
    """Load a DAG file as Airflow's DAG processor does, from its path."""
    path = settings.project_folder() / "dags" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"dag_file_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    """All our DAGs, by id."""
    modules = [load("branch_pipelines"), load("ci_pipeline_trigger"), load("ci_pipeline_reconciler")]
    found = [item for module in modules for item in vars(module).values() if isinstance(item, DAG)]
    return {dag.dag_id: dag for dag in found}


def test_every_branch_has_its_dag_and_there_is_one_trigger(dags: dict[str, DAG]) -> None:
    """As pipeline.toml says."""
    assert set(dags) == {
        "ci-pipeline-trigger",
        "ci-pipeline-reconciler",
        *(f"ci-pipeline-{branch}" for branch in settings.current().branches),
    }


def test_the_stages_come_in_the_order_of_the_design(dags: dict[str, DAG]) -> None:
    """One line, and `complete` at its end."""
    dag = dags["ci-pipeline-f26"]
    names = [stage.name for stage in STAGES]

    assert dag.task_ids == [*names, "complete"]
    for name, following in zip([*names], [*names[1:], "complete"], strict=True):
        assert dag.task_dict[name].downstream_task_ids == {following}


def test_every_stage_is_a_stage_operator_of_its_own(dags: dict[str, DAG]) -> None:
    """With the stage it is named after."""
    for stage in STAGES:
        operator = dags["ci-pipeline-f26"].task_dict[stage.name]

        assert isinstance(operator, StageOperator)
        assert operator.stage is stage


def test_complete_always_runs_and_does_not_colour_the_run(dags: dict[str, DAG]) -> None:
    """It is a teardown: also of a run that is marked failed."""
    complete = dags["ci-pipeline-f26"].task_dict["complete"]

    assert complete.is_teardown
    assert not complete.on_failure_fail_dagrun


def test_composes_of_a_branch_are_serialized(dags: dict[str, DAG]) -> None:
    """By a pool of the branch's own."""
    assert dags["ci-pipeline-f26"].task_dict["compose_ostree"].pool == "compose_f26"
    assert dags["ci-pipeline-rawhide"].task_dict["compose_ostree"].pool == "compose_rawhide"


def test_the_trigger_listens_always_and_once(dags: dict[str, DAG]) -> None:
    """A second listener would only compete."""
    dag = dags["ci-pipeline-trigger"]

    assert dag.schedule == "@continuous"
    assert dag.max_active_runs == 1


def test_every_dag_says_what_to_do_when_it_is_red(dags: dict[str, DAG]) -> None:
    """And can be found by its tags."""
    for dag in dags.values():
        assert "what now?" in dag.doc_md.lower()
        assert "ci-pipeline" in dag.tags


def test_every_task_is_in_the_triage_notes(dags: dict[str, DAG]) -> None:
    """No stage without a word on what its red means."""
    dag = dags["ci-pipeline-f26"]

    assert not [name for name in dag.task_ids if f"`{name}`" not in dag.doc_md]


@pytest.mark.parametrize("field", ["namespace", "repo", "rev", "test_guidance", "generate_image"])
def test_the_trigger_form_describes_its_fields(dags: dict[str, DAG], field: str) -> None:
    """Each has a title and a sentence."""
    param = dags["ci-pipeline-f26"].params.get_param(field)

    assert param.schema["title"]
    assert param.description
