"""The pipeline: one DAG per branch of pipeline.toml, from a pushed change to a tested host.

Read this first: every stage is one line. What a stage does is in `operators/` and `playbooks/`; who starts a run is in
`ci_pipeline_trigger.py`. docs/architecture.md follows a change through all of it.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from ci_pipeline import settings
from operators.build_package import BuildPackageOperator
from operators.complete import CompleteOperator
from operators.compose_ostree import ComposeOstreeOperator
from operators.conformance_tests import ConformanceTestsOperator
from operators.functional_tests import FunctionalTestsOperator
from operators.generate_image import GenerateImageOperator
from operators.integration_tests import IntegrationTestsOperator
from operators.smoke_test import SmokeTestOperator

TRIAGE = """
### One pushed change on `{branch}`, from the RPM to a tested host

A run is as red as its worst stage. **What now?** Open the red stage's log: its last line says what failed.

| red task | what it means | what to do |
|---|---|---|
| `build_package` | the RPM was not built, or its `%check` failed | the packager's, unless it says *infrastructure* |
| `functional_tests` | the package's own tests failed (gating packages stop here) | the packager's |
| `compose_ostree` | the host could not be composed with this package | look for the dependency that is named |
| `integration_tests` | the composed host did not boot, or its tests failed | the branch did not move; the packager's |
| `generate_image`, `smoke_test` | the compose is good, its image is not | ours: clear the task to run it again |
| `conformance_tests` | the cluster on the image failed tests | see the failed tests in the results |
| `complete` | the run could not be summed up | ours: look at the database, then clear the task |

Skipped image, smoke and conformance tasks are normal: an image is made once per interval. The log of
`generate_image` says when the next one is due. After an infrastructure fault, clear the red task: what follows
it runs again on the kept outputs. `ci-pipeline results --run RUN` shows every test.
"""

PARAMS = {
    "namespace": Param("rpms", type="string", title="Namespace", description="dist-git namespace of the package"),
    "repo": Param(type="string", minLength=1, title="Package", description="name of the package in dist-git"),
    "rev": Param(
        type="string",
        pattern="^[0-9a-f]{40}$",
        title="Revision",
        description="the commit to run, 40 hex digits",
    ),
    "test_guidance": Param(
        "''",
        type="string",
        title="Test guidance",
        description="comma-separated test suites, passed on to consumers",
    ),
    "generate_image": Param(
        "when-due",
        enum=["when-due", "always", "never"],
        title="Image",
        description="generate an image when one is due, always or never",
    ),
}


def branch_dag(branch: str, *, namespaces: list[str]) -> DAG:
    """Return the pipeline of one branch."""
    with DAG(
        f"ci-pipeline-{branch}",
        description=f"Builds, composes and tests every change pushed to {branch}",
        schedule=None,
        catchup=False,
        max_active_runs=16,
        params=PARAMS,
        render_template_as_native_obj=False,
        dagrun_timeout=timedelta(hours=24),
        doc_md=TRIAGE.format(branch=branch),
        tags=["ci-pipeline", f"branch:{branch}", *(f"namespace:{name}" for name in namespaces)],
    ) as dag:
        (
            BuildPackageOperator()
            >> FunctionalTestsOperator()
            >> ComposeOstreeOperator(pool=f"compose_{branch}")
            >> IntegrationTestsOperator()
            >> GenerateImageOperator(wanted="{{ params.generate_image }}")
            >> SmokeTestOperator()
            >> ConformanceTestsOperator()
            >> CompleteOperator().as_teardown()
        )
    return dag


for name in settings.current().branches:
    globals()[f"ci_pipeline_{name}"] = branch_dag(name, namespaces=settings.current().packages.namespaces)
