"""The section [jenkins] of pipeline.toml: where the stages with `executor = "jenkins"` are carried out."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from ci_pipeline.sections import Section

_NAME = r"(?!\.{1,2}(?:/|$))(?:[A-Za-z0-9_. +-]|\{stage\})+"
_JOB = re.compile(rf"{_NAME}(?:/{_NAME})*")


def _names_a_job(value: str) -> str:
    if not _JOB.fullmatch(value):
        msg = "is no name of a job: folders and the job, joined by /, as in ci/{stage}; there is no other {...}"
        raise ValueError(msg)
    return value


ConnectionId = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$", max_length=200)]


class Jenkins(Section):
    """The Jenkins that carries out stages with executor jenkins."""

    connection: ConnectionId = Field(
        "jenkins_default", description="id of the Airflow connection with its address, account and API token"
    )
    job: Annotated[str, AfterValidator(_names_a_job), StringConstraints(max_length=500)] = Field(
        "ci-pipeline-{stage}", description="a stage's job, with its folders; {stage} is the stage's name"
    )
    look_seconds: float = Field(30, ge=1, le=600, description="seconds between two looks at a build")
    queue_seconds: float = Field(
        3600, ge=10, le=604800, description="how long a build may wait for its turn, and for a Jenkins that is away"
    )

    def job_of(self, stage: str) -> str:
        """Return the full name of a stage's job."""
        return self.job.replace("{stage}", stage)
