"""Run the Kubernetes e2e conformance tests on a cluster on the new image."""

from ci_pipeline.stages import CONFORMANCE_TESTS
from operators.stage import StageOperator


class ConformanceTestsOperator(StageOperator):
    """Starts the configured suite, looks at it until it has ended, and reads its JUnit.

    The suite runs on the builder by itself; between looks the task is deferred. A task that is tried again finds the
    suite that runs and goes on with it.
    """

    stage = CONFORMANCE_TESTS
    ui_color = "#e0f2f1"
