"""Build the RPM of a change; its unit tests run in `%check`."""

from ci_pipeline.stages import BUILD_PACKAGE
from operators.stage import StageOperator


class BuildPackageOperator(StageOperator):
    """Builds the SRPM and the RPMs of a change into the run's own repository, with a stamped release."""

    stage = BUILD_PACKAGE
    ui_color = "#e6f4ea"
