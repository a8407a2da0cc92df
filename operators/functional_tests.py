"""Run the functional tests that a package keeps in its dist-git (Standard Test Interface)."""

from ci_pipeline.stages import FUNCTIONAL_TESTS
from operators.stage import StageOperator


class FunctionalTestsOperator(StageOperator):
    """Runs the tests tagged `classic` against the run's RPMs. UNSTABLE stops the run of a gating package."""

    stage = FUNCTIONAL_TESTS
    ui_color = "#fef7e0"
