"""The query parameters: each is validated, and none is passed over."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from fastapi import HTTPException, Request, status
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, WithJsonSchema

from ci_pipeline.change import NAME, Name, Namespace, Rev
from ci_pipeline.datahub.filters import Filter, TestFilter
from ci_pipeline.kind import Kind
from ci_pipeline.lane import Lane
from ci_pipeline.outcome import TestOutcome
from ci_pipeline.stages import BY_NAME

MOST: Final = 500
_LARGEST_NUMBER: Final = 10**18 - 1
_MOMENT: Final = "give a time with its zone in ISO 8601, as 2026-01-31T12:00:00Z; a + has to be sent as %2B"


def _moment(told: object) -> datetime:
    """Read a time with its zone, as UTC: PostgreSQL knows fewer zones than Python."""
    try:
        moment = datetime.fromisoformat(str(told))
        known = moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError) as error:
        raise ValueError(_MOMENT) from error
    if known is None:
        raise ValueError(_MOMENT)
    return known


def _stage(told: str) -> str:
    if told not in BY_NAME:
        msg = f"there is no such stage; there are {', '.join(BY_NAME)}"
        raise ValueError(msg)
    return told


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
StageName = Annotated[str, AfterValidator(_stage), WithJsonSchema({"type": "string", "enum": [*BY_NAME]})]
Nvr = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+~^:-]{0,299}$")]
ComposeRev = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Ref = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,299}$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,99}/[0-9]{1,18}$")]
# As results have it: one line. PostgreSQL takes no NUL.
TestName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,4000}$")]
Outcome = Literal["SUCCESS", "UNSTABLE", "FAILURE", "ABORTED", "SKIPPED", "RUNNING"]
Number = Annotated[int, Field(ge=0, le=_LARGEST_NUMBER)]
ImageName = Annotated[str, StringConstraints(pattern=NAME.replace("99", "299"))]


class Paging(BaseModel):
    """Which page."""

    limit: int = Field(50, ge=1, le=MOST, description="items of a page at most")
    cursor: int | None = Field(None, ge=1, le=_LARGEST_NUMBER, description="as `next` has it; made nowhere else")


class _AboutRun(Paging):
    namespace: Namespace | None = Field(None, description="of dist-git", examples=["rpms"])
    repo: Name | None = Field(None, description="package in dist-git", examples=["greeter"])
    rev: Rev | None = Field(None, description="revision in dist-git: 40 hex digits")
    branch: Name | None = Field(None, examples=["f26"])
    ref: Ref | None = Field(
        None,
        description="OSTree ref a compose is on, or is to be on: a branch's, or `candidate/f26/464`",
        examples=["fedora/f26/x86_64/atomic-host"],
    )
    kind: Kind | None = Field(None, description="what the run is for")
    lane: Lane | None = Field(None, description="how the run comes, or came, to its turn")
    since: Moment | None = Field(None, description="it ended then or later", examples=["2026-01-31T12:00:00Z"])
    until: Moment | None = Field(None, description="it ended before", examples=["2026-02-01T00:00:00+01:00"])


class RunQuery(_AboutRun):
    """Which runs."""

    outcome: Outcome | None = Field(None, description="RUNNING: it has not ended")

    def wanted(self) -> Filter:
        """Return what is asked for."""
        return Filter(**self.model_dump(exclude={*Paging.model_fields}))


class _AboutResult(_AboutRun):
    run: RunId | None = Field(None, description="id of a run", examples=["f26/464"])
    nvr: Nvr | None = Field(None, examples=["gnutls-3.5.15-1.246.a3e666c.fc26"])
    original_spec_nvr: Nvr | None = Field(
        None, description="NVR of the unmodified spec", examples=["gnutls-3.5.15-1.fc26"]
    )
    compose_rev: ComposeRev | None = Field(None, description="OSTree commit: 64 hex digits")
    stage: StageName | None = None


class ResultQuery(_AboutResult):
    """Which results."""

    outcome: Outcome | None = Field(None, description="status of the result; RUNNING: it has none yet")

    def wanted(self) -> Filter:
        """Return what is asked for."""
        return Filter(**self.model_dump(exclude={*Paging.model_fields}))


class TestQuery(_AboutResult):
    """Which tests of which results."""

    __test__ = False

    name: TestName | None = Field(None, description="name of the test, the whole of it")
    outcome: TestOutcome | None = Field(None, description="outcome of the test")
    result_outcome: Outcome | None = Field(None, description="status of its result")

    def wanted(self) -> TestFilter:
        """Return what is asked for."""
        about = self.model_dump(exclude={*Paging.model_fields, "name", "outcome", "result_outcome"})
        return TestFilter(of=Filter(**about, outcome=self.result_outcome), name=self.name, outcome=self.outcome)


class TestsOfResultQuery(Paging):
    """Which tests of one result."""

    __test__ = False

    name: TestName | None = Field(None, description="name of the test, the whole of it")
    outcome: TestOutcome | None = Field(None, description="outcome of the test")


class ImageQuery(Paging):
    """Which images."""

    branch: Name | None = Field(None, examples=["f26"])


def refuse_unknown(request: Request) -> None:
    """Let pass what is asked for with parameters the route has: a typo in a filter must not answer with everything.

    Raises:
        HTTPException: 400.
    """
    allowed = _allowed(request)
    given = Counter(name for name, _ in request.query_params.multi_items())
    known = f"known here: {', '.join(allowed)}" if allowed else "there are none here"
    if unknown := [name for name in given if name not in allowed]:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, f"unknown parameters: {_some(unknown)}; {known}")
    if repeated := [name for name, times in given.items() if times > 1]:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, f"given more than once: {_some(repeated)}")


def _some(names: list[str]) -> str:
    return ", ".join(repr(name[:50]) for name in names[:5])


def _allowed(request: Request) -> list[str]:
    """Return the names of a route's query parameters, as the API's description has them."""
    described = request.app.openapi()["paths"][request.scope["route"].path_format][request.method.lower()]
    return [one["name"] for one in described.get("parameters", []) if one["in"] == "query"]
