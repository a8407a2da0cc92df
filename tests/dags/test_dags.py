"""The DAGs: what an operator sees in the Airflow UI."""

import importlib.util
import itertools
import json
from datetime import timedelta
from types import ModuleType
from typing import get_args

import pytest
from airflow.sdk import DAG

from ci_pipeline import lane, settings
from ci_pipeline.conf import Conf
from ci_pipeline.journal import HOUSEKEEPING, housekeeping
from ci_pipeline.stages import STAGES, STEPS
from operators.run_weight import RunWeight
from operators.stage import StageOperator

SINKS = [{"name": name, "kind": "elasticsearch", "url": "http://127.0.0.1:9"} for name in ("datahub", "other-datahub")]


def load(name: str) -> ModuleType:
    """Load a DAG file as Airflow's DAG processor does, from its path."""
    path = settings.project_folder() / "dags" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"dag_file_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_all(*, sinks: object = ()) -> dict[str, DAG]:
    """Return all our DAGs, by id, as they are with sinks."""
    names = (
        "branch_pipelines",
        "ci_pipeline_trigger",
        "ci_pipeline_reconciler",
        "ci_pipeline_retention",
        "ci_pipeline_datahub",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI_PIPELINE_SINKS", json.dumps(sinks))
        settings.current.cache_clear()
        modules = [load(name) for name in names]
    settings.current.cache_clear()
    found = [item for module in modules for item in vars(module).values() if isinstance(item, DAG)]
    return {dag.dag_id: dag for dag in found}


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    """All our DAGs, by id."""
    return load_all(sinks=SINKS)


def test_every_branch_has_its_dag_and_there_is_one_trigger(dags: dict[str, DAG]) -> None:
    """As pipeline.toml says."""
    assert set(dags) == {
        *HOUSEKEEPING,
        *(f"ci-pipeline-{branch}" for branch in settings.current().branches),
    }


def test_the_stages_come_in_the_order_of_the_design(dags: dict[str, DAG]) -> None:
    """One line, and `complete` at its end; before it the cluster is torn down.

    The steps of the cluster follow the first of them besides: without one the scheduler skips all of them at once.
    """
    dag = dags["ci-pipeline-f26"]
    names = [stage.name for stage in STAGES]
    ends = {"tear_down_cluster", "complete"}

    assert set(dag.task_ids) == {*names, *ends}
    for name, following in itertools.pairwise(names):
        besides = {"await_cluster", "conformance_tests"} if name == "provision_hosts" else set()
        assert dag.task_dict[name].downstream_task_ids - ends == {following, *besides}
    assert dag.task_dict["conformance_tests"].downstream_task_ids == ends


def test_a_task_reads_its_own_branch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many branches there are: Airflow says which DAG it wants."""
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "ci-pipeline-rawhide")
    found = [item.dag_id for item in vars(load("branch_pipelines")).values() if isinstance(item, DAG)]

    assert found == ["ci-pipeline-rawhide"]


def test_the_cluster_is_torn_down_however_its_steps_ended(dags: dict[str, DAG]) -> None:
    """It is the teardown of those that make it, so that clearing the tests makes a new one. `complete` waits for it."""
    task = dags["ci-pipeline-f26"].task_dict["tear_down_cluster"]
    setups = {"provision_hosts", "configure_cluster", "await_cluster"}

    assert task.is_teardown
    assert not task.on_failure_fail_dagrun
    assert {one.task_id for one in task.upstream_list if one.is_setup} == setups
    assert task.downstream_task_ids == {"complete"}


def test_the_steps_of_the_cluster_are_one_group(dags: dict[str, DAG]) -> None:
    """Each of them is seen, and all of them fold into one box."""
    group = dags["ci-pipeline-f26"].task_group.get_child_by_label("conformance")

    assert list(group.children) == [*(step.name for step in STEPS["image.test.conformance"]), "tear_down_cluster"]


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


def test_every_task_of_a_branch_goes_as_its_run_came(dags: dict[str, DAG]) -> None:
    """One that would go by Airflow's own rule would pass, or be passed by, all the others."""
    dag = dags["ci-pipeline-f26"]

    assert {type(task.weight_rule) for task in dag.tasks} == {RunWeight}
    assert dag.max_active_runs == lane.PLACES


def test_the_trigger_listens_always_and_once(dags: dict[str, DAG]) -> None:
    """A second listener would only compete."""
    dag = dags["ci-pipeline-trigger"]

    assert dag.schedule == "@continuous"
    assert dag.max_active_runs == 1


@pytest.mark.parametrize("name", HOUSEKEEPING)
def test_the_dags_that_are_not_of_a_branch_run_one_at_a_time(dags: dict[str, DAG], name: str) -> None:
    """And never make up for the time they were paused."""
    dag = dags[name]

    assert dag.max_active_runs == 1
    assert dag.catchup is False


def test_a_task_for_each_sink_waits_for_no_other(dags: dict[str, DAG]) -> None:
    """They run side by side, every half minute, and are tried by the next run."""
    dag = dags["ci-pipeline-datahub"]

    assert dag.schedule == timedelta(seconds=30)
    assert set(dag.task_ids) == {"datahub", "other-datahub"}
    assert [(one.sink, one.retries, one.upstream_task_ids) for one in dag.tasks] == [
        (one.task_id, 0, set()) for one in dag.tasks
    ]


def test_without_sinks_there_is_nothing_to_deliver() -> None:
    """No DAG then, and nothing that is unpaused or tidied up."""
    assert "ci-pipeline-datahub" not in load_all()
    assert "ci-pipeline-datahub" not in housekeeping(settings.current())


def test_retention_is_hourly(dags: dict[str, DAG]) -> None:
    """A disk does not fill faster."""
    assert dags["ci-pipeline-retention"].schedule == timedelta(hours=1)


def test_every_dag_says_what_to_do_when_it_is_red(dags: dict[str, DAG]) -> None:
    """And can be found by its tags."""
    for dag in dags.values():
        assert "what now?" in dag.doc_md.lower()
        assert "ci-pipeline" in dag.tags


def test_every_task_is_in_the_triage_notes(dags: dict[str, DAG]) -> None:
    """No stage without a word on what its red means."""
    dag = dags["ci-pipeline-f26"]

    assert not [name for name in dag.task_ids if f"`{name}`" not in dag.doc_md]


@pytest.mark.parametrize("field", Conf.model_fields)
def test_the_trigger_form_describes_its_fields(dags: dict[str, DAG], field: str) -> None:
    """Each has a title and a sentence, and the default of the conf that is read."""
    param = dags["ci-pipeline-f26"].params.get_param(field)

    assert param.schema["title"]
    assert param.description
    assert param.value == Conf.model_fields[field].default


def test_the_trigger_form_has_no_other_fields(dags: dict[str, DAG]) -> None:
    """They would be refused by the first task."""
    assert set(dags["ci-pipeline-f26"].params) == set(Conf.model_fields)


@pytest.mark.parametrize("kind", ["generate_image", "gating", "conformance"])
def test_the_form_offers_what_the_first_task_takes(dags: dict[str, DAG], kind: str) -> None:
    """No more and no less."""
    offered = dags["ci-pipeline-f26"].params.get_param(kind).schema["enum"]

    assert tuple(offered) == get_args(Conf.model_fields[kind].annotation)


def test_a_branchs_dag_is_found_by_its_branch_and_its_namespaces(dags: dict[str, DAG]) -> None:
    """Among the tags."""
    assert {"branch:rawhide", "namespace:rpms"} <= set(dags["ci-pipeline-rawhide"].tags)
