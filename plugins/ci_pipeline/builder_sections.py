"""The section [builders] of pipeline.toml: other machines that stages may be carried out on."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from ci_pipeline.sections import Section
from ci_pipeline.stages import BY_NAME
from ci_pipeline.transfers import TRANSFERS


def _can_travel(name: str) -> str:
    if name in TRANSFERS:
        return name
    can = ", ".join(TRANSFERS)
    if name in BY_NAME:
        msg = f"{name} runs on the pipeline's own machine alone; stages that can go to a builder: {can}"
    else:
        msg = f"there is no stage {name!r}; stages that can go to a builder: {can}"
    raise ValueError(msg)


class Builders(Section):
    """Which machines carry stages out, and which stages."""

    inventory: Path | None = Field(
        None,
        description="Ansible inventory whose group `builders` names the builders; default: all runs on this machine",
    )
    stages: list[Annotated[str, AfterValidator(_can_travel)]] = Field(
        list(TRANSFERS), description="stages that go to a builder; the others run on this machine"
    )
    lease_seconds: int = Field(
        120, ge=10, le=3600, description="how long a builder stays taken by a stage that gives no sign of life"
    )
    set_aside_seconds: int = Field(
        300,
        ge=1,
        le=86400,
        description="how long a builder that could not be reached is left alone; twice as long each further time",
    )
