"""The pipeline in containers: what `ci-pipeline init` prepares for the services of docker-compose.yaml."""

from ci_pipeline.deployment.schema import bring_up_to_date
from ci_pipeline.deployment.secret_files import write

__all__ = ["bring_up_to_date", "write"]
