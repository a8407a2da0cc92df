"""The sections of pipeline.toml about downstream datahubs: `[[sinks]]`, one for each, and `[delivery]`."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from ci_pipeline.sections import Section

Phase = Literal["queued", "running", "complete", "skipped"]


def _plain_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = "must be http:// or https:// and a host"
        raise ValueError(msg)
    if "@" in parts.netloc or parts.query or parts.fragment:
        msg = "must have no account, no ? and no # in it: secrets come from the environment"
        raise ValueError(msg)
    return value.rstrip("/")


Address = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_plain_address)]
SinkName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
# The name of an environment variable; "" for none.
Variable = Annotated[str, StringConstraints(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]
Index = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,199}$")]
ItemType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]


class Delivery(Section):
    """How results get to the sinks."""

    interval_seconds: int = Field(30, ge=5, le=3600, description="how often what waits is delivered; a pass is as long")


class _Sink(Section):
    name: SinkName = Field(description="its name, for `status` and commands; another name is another sink")
    url: Address = Field(description="its http(s) address")
    events: list[Phase] = Field(
        ["complete", "skipped"], min_length=1, description="what it is told: queued, running, complete, skipped"
    )
    timeout_seconds: float = Field(10, gt=0, le=300, description="time it has to answer one request, whole")
    attempts: int = Field(5, ge=1, le=100, description="how often it may answer with an error (500) until we park")
    ca: Path | None = Field(None, description="file with the CA certificates to trust; default: the public ones")


class _SinkWithAccount(_Sink):
    username: str = Field("", max_length=200, description="kinds resultsdb, elasticsearch: account, for basic auth")
    password_env: Variable = Field("", description="the environment variable with its password")
    token_env: Variable = Field("", description="the environment variable with a token (elasticsearch: API key)")

    @model_validator(mode="after")
    def _has_one_kind_of_account(self) -> Self:
        if bool(self.username) != bool(self.password_env) or (self.username and self.token_env):
            msg = "needs username and password_env together, or token_env alone, or none of them"
            raise ValueError(msg)
        return self


class ResultsDbSink(_SinkWithAccount):
    """A ResultsDB. `url` ends with `/api/v2.0`."""

    kind: Literal["resultsdb"] = Field(description='what it is: "resultsdb", "http" or "elasticsearch"')
    outcomes: list[Literal["QUEUED", "RUNNING", "ERROR"]] = Field(
        [], description="kind resultsdb: outcomes the server accepts beyond its four own: QUEUED, RUNNING, ERROR"
    )
    build_type: ItemType = Field("rpm_build", description="kind resultsdb: `type` of an item that is an NVR")

    @model_validator(mode="after")
    def _accepts_what_it_is_told(self) -> Self:
        for phase in ("queued", "running"):
            if phase in self.events and phase.upper() not in self.outcomes:
                msg = f'events has "{phase}": outcomes must have "{phase.upper()}", and the server accept it'
                raise ValueError(msg)
        return self


class HttpSink(_Sink):
    """Any HTTP server that takes the JSON of our API, signed as Standard Webhooks has it."""

    kind: Literal["http"]
    secret_env: Annotated[Variable, StringConstraints(min_length=1)] = Field(
        description="kind http: the environment variable with the key that signs, `whsec_...`; several by blanks"
    )


class ElasticsearchSink(_SinkWithAccount):
    """An Elasticsearch or OpenSearch."""

    kind: Literal["elasticsearch"]
    index: Index = Field("ci-pipeline-results", description="kind elasticsearch: index or data stream")


SinkSettings = ResultsDbSink | HttpSink | ElasticsearchSink
AnySink = Annotated[SinkSettings, Field(discriminator="kind")]
KINDS: Final = ("resultsdb", "http", "elasticsearch")
