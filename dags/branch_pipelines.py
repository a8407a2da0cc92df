"""The pipeline: one DAG per branch of pipeline.toml, from a pushed change to a tested host.

Read this first: every stage is one name. What a stage does is in `operators/` and `playbooks/`; who starts a run is in
`ci_pipeline_trigger.py`. docs/architecture.md follows a change through all of it.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param, TaskGroup, get_parsing_context

from ci_pipeline import conf, lane, revisions, settings
from ci_pipeline.change import NAME, NAMESPACE
from ci_pipeline.store.runs import dag_id_of
from operators.await_cluster import AwaitClusterOperator
from operators.build_package import BuildPackageOperator
from operators.complete import CompleteOperator
from operators.compose_ostree import ComposeOstreeOperator
from operators.configure_cluster import ConfigureClusterOperator
from operators.conformance_tests import ConformanceTestsOperator
from operators.functional_tests import FunctionalTestsOperator
from operators.generate_image import GenerateImageOperator
from operators.integration_tests import IntegrationTestsOperator
from operators.provision_hosts import ProvisionHostsOperator
from operators.revision_timetable import RevisionTimetable
from operators.run_weight import RunWeight
from operators.smoke_test import SmokeTestOperator
from operators.tear_down_cluster import TearDownClusterOperator

TRIAGE = """
### One pushed change on `{branch}`, from the RPM to a tested host

A run is as red as its worst stage. **What now?** The run's note says what failed, in one line; so does the note of the
red task, and the last line of its log. The task's links lead to its tool's log, and to what the run made.

| red task | what it means | what to do |
|---|---|---|
| `build_package` | the RPM was not built, or its `%check` failed | the packager's, unless it says *infrastructure* |
| `functional_tests` | the package's own tests failed (gating packages stop here) | the packager's |
| `compose_ostree` | the host could not be composed with this package | look for the dependency that is named |
| `integration_tests` | the composed host did not boot, or its tests failed | the branch did not move; the packager's |
| `generate_image`, `smoke_test` | the compose is good, its image is not | ours: clear the task to run it again |
| `provision_hosts` | the image did not come up as hosts of a cluster | ours: the hosts' consoles are in its results |
| `configure_cluster` | the cluster could not be installed on them | ours: the installer's log |
| `await_cluster` | the cluster never became ready | ours: what is missing is in its note |
| `conformance_tests` | the cluster on the image failed tests | see the failed tests in the results |
| `tear_down_cluster` | the cluster could not be ended | ours: the reconciler ends what is left of it |
| `complete` | the run could not be summed up | ours: look at the database, then clear the task |

**Past revisions**: *Backfill* on this page runs every known revision of a range of dates that has not run yet. Such a
run builds, composes and tests, and leaves the branch as it is: no promotion, no image.

Skipped image, smoke and conformance tasks are normal: an image is made once per interval. The note of
`generate_image` says when the next one is due, that of `provision_hosts` why there is no cluster. Clearing one of the
tasks of the cluster clears those that make it, too. After an infrastructure fault, clear the red task: what follows
it runs again on the kept outputs. `ci-pipeline results --run RUN` shows every test.
"""

WATCHED = settings.current().packages
NAMESPACE_IF_NONE = conf.default_namespace(settings.current())
# What only the first task can check (that it names a change, and one that exists) is in ci_pipeline/conf.py.
PARAMS = {
    "namespace": Param(
        None,
        type=["null", "string"],
        pattern=NAMESPACE,
        examples=WATCHED.namespaces,
        title="Namespace",
        description=f"dist-git namespace of the package; empty: the message's, or {NAMESPACE_IF_NONE}",
    ),
    "repo": Param(
        None,
        type=["null", "string"],
        pattern=NAME,
        examples=WATCHED.monitored,
        title="Package",
        description="name of the package in dist-git; one that is not watched can be run, too",
    ),
    "rev": Param(
        None,
        type=["null", "string"],
        pattern=revisions.PATTERN,
        title="Revision",
        description="the commit to run: at least 7 of its digits, or the name of a branch or tag in dist-git",
    ),
    "message": Param(
        None,
        type=["null", "string", "object"],
        format="multiline",
        title="Message",
        description="instead of the three above: a message of the bus, pasted whole, as it was sent or as datagrepper "
        "shows it",
    ),
    "test_guidance": Param(
        "''",
        type="string",
        maxLength=500,
        pattern=conf.TEST_GUIDANCE,
        title="Test guidance",
        description="comma-separated test suites, passed on to consumers of the messages",
    ),
    "generate_image": Param(
        "when-due",
        type="string",
        enum=["when-due", "always", "never"],
        title="Image",
        description="generate an image when one is due, always or never",
    ),
    "gating": Param(
        conf.AS_CONFIGURED,
        type="string",
        enum=[conf.AS_CONFIGURED, "gating", "opt-in"],
        title="Gating",
        description="whether failing functional tests stop this run (gating) or are only reported (opt-in)",
    ),
    "conformance": Param(
        conf.AS_CONFIGURED,
        type="string",
        enum=[conf.AS_CONFIGURED, "always", "with-image", "never"],
        title="Conformance tests",
        description="a cluster and its tests on this run's image, if there is one (with-image), on the branch's newest "
        "if there is none (always), or never",
    ),
    "reuse": Param(
        conf.AS_CONFIGURED,
        type="string",
        enum=[conf.AS_CONFIGURED, "never"],
        title="Reuse",
        description="whether what an earlier run has made of the very same inputs is taken, or made anew (never)",
    ),
}


def branch_dag(branch: str, *, namespaces: list[str]) -> DAG:
    """Return the pipeline of one branch."""
    with DAG(
        dag_id_of(branch),
        description=f"Builds, composes and tests every change pushed to {branch}",
        schedule=RevisionTimetable(branch=branch),
        catchup=False,
        max_active_runs=lane.PLACES,
        default_args={"weight_rule": RunWeight()},
        params=PARAMS,
        render_template_as_native_obj=False,
        dagrun_timeout=timedelta(hours=24),
        doc_md=TRIAGE.format(branch=branch),
        tags=["ci-pipeline", f"branch:{branch}", *(f"namespace:{name}" for name in namespaces)],
    ) as dag:
        smoke_test = SmokeTestOperator()
        complete = CompleteOperator().as_teardown()
        (
            BuildPackageOperator()
            >> FunctionalTestsOperator()
            >> ComposeOstreeOperator(pool=f"compose_{branch}")
            >> IntegrationTestsOperator()
            >> GenerateImageOperator(wanted="{{ params.generate_image }}")
            >> smoke_test
        )
        with TaskGroup("conformance", prefix_group_id=False, tooltip="A cluster on the image, and its tests"):
            hosts, cluster, ready = ProvisionHostsOperator(), ConfigureClusterOperator(), AwaitClusterOperator()
            tests = ConformanceTestsOperator()
            end = TearDownClusterOperator().as_teardown(setups=[hosts, cluster, ready])
            smoke_test >> hosts >> cluster >> ready >> tests >> end
            # Without a cluster the scheduler skips all of them at once, where it would take a turn for each.
            hosts >> [ready, tests]
        [tests, end] >> complete
    return dag


# A task asks for its own branch's, and the dag-processor for all.
wanted = get_parsing_context().dag_id
for name in settings.current().branches:
    if wanted in {None, dag_id_of(name)}:
        globals()[f"ci_pipeline_{name}"] = branch_dag(name, namespaces=settings.current().packages.namespaces)
