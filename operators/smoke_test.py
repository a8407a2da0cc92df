"""Boot the generated image and prove that it runs the commit it was made of."""

from ci_pipeline.stages import SMOKE_TEST
from operators.stage import StageOperator


class SmokeTestOperator(StageOperator):
    """Boots the image; the checksum of the running deployment must be the compose's. A pass moves `latest`."""

    stage = SMOKE_TEST
    ui_color = "#fef7e0"
