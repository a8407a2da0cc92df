"""Boot a host deployed from the compose and test it; a pass promotes the candidate."""

from ci_pipeline.stages import INTEGRATION_TESTS
from operators.stage import StageOperator


class IntegrationTestsOperator(StageOperator):
    """Boots exactly the commit that was composed and runs the tests tagged `atomic` over SSH.

    Only a SUCCESS moves the branch's ref and adds the packages to the branch's last good set.
    """

    stage = INTEGRATION_TESTS
    ui_color = "#fef7e0"
