"""What the pipeline asks of a Jenkins, and what it reads in its answers: other people's JSON, held against a schema."""

from typing import Annotated, Any, BinaryIO, Final, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ci_pipeline.executors.report import clean

TOKEN: Final = "TOKEN"  # noqa: S105 - the name of the job's parameter that a build is found by; no secret
REQUEST: Final = "REQUEST"

_PIPELINE: Final = "org.jenkinsci.plugins.workflow.job.WorkflowRun"
_INTERRUPTED: Final = "jenkins.model.InterruptedBuildAction"
_LONGEST_LINE: Final = 300


def line_of(text: str) -> str:
    """Return words of Jenkins as one line that is fit for a reason."""
    return " ".join(clean(text).split())[:_LONGEST_LINE]


# Jenkins says null where it has nothing to say.
Line = Annotated[str, BeforeValidator(lambda value: value or ""), AfterValidator(line_of)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Parameter(_Part):
    name: str = ""
    value: Any = None


class Cause(_Part):
    """Why something was interrupted. `kind` is a Java class."""

    kind: str = Field("", alias="_class")
    text: Line = Field("", alias="shortDescription")

    @property
    def is_the_agents(self) -> bool:
        """Whether the machine went away, and nobody wanted the build to end."""
        return "RemovedNode" in self.kind


class _Action(_Part):
    kind: str = Field("", alias="_class")
    parameters: list[_Parameter] = []
    causes: list[Cause] = []


class _Asked(_Part):
    actions: list[_Action | None] = []

    @property
    def token(self) -> str | None:
        """The value of its parameter TOKEN; None without one."""
        values = (one.value for action in self.actions if action for one in action.parameters if one.name == TOKEN)
        return next((str(value) for value in values), None)


class _Executable(_Part):
    number: int


class QueueItem(_Asked):
    """What waits in Jenkins' queue, or has left it: then `build` is the number of its build, or it was cancelled."""

    id: int
    why: Line = ""
    cancelled: bool = False
    executable: _Executable | None = None

    @property
    def build(self) -> int | None:
        """The number of the build that came of it; None while it waits."""
        return self.executable.number if self.executable else None


class Queue(_Part):
    """All that waits."""

    items: list[QueueItem] = []


class _Artifact(_Part):
    path: str = Field("", alias="relativePath")


class Build(_Asked):
    """A build. `duration` in milliseconds, 0 while it runs.

    `result` is Jenkins' word for how it ended; a build that went down with its Jenkins has ended without one.
    """

    kind: str = Field("", alias="_class")
    number: int
    url: str = ""
    building: bool = False
    result: str | None = None
    duration: Annotated[float, Field(ge=0)] = 0
    description: Line = ""
    artifacts: list[_Artifact] = []

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return not self.building

    @property
    def has_an_agent(self) -> bool:
        """Whether it is at work: a Pipeline begins on the controller, and says when it has got an agent."""
        return self.kind != _PIPELINE or bool(self.description)

    @property
    def paths(self) -> frozenset[str]:
        """The paths of its archived files, as Jenkins knows them."""
        return frozenset(one.path for one in self.artifacts)

    @property
    def interrupted_by(self) -> list[Cause]:
        """Who or what interrupted it, as far as Jenkins knows."""
        return [cause for action in self.actions if action and action.kind == _INTERRUPTED for cause in action.causes]


class Builds(_Part):
    """The newest builds of a job."""

    builds: list[Build] = []


class JenkinsServer(Protocol):
    """A Jenkins, by an account. All methods raise JenkinsAway while it does not answer, ExecutorError if it refuses."""

    def ask(self, job: str, *, token: str, request: str) -> int:
        """Put a build of a job into the queue; return the number of its queue item."""

    def queue_item(self, number: int) -> QueueItem | None:
        """Return an item of the queue; None if there is none any more: Jenkins forgets them minutes after they left."""

    def find(self, job: str, token: str) -> QueueItem | None:
        """Return what waits, or was built, for a token; None if there is neither."""

    def build(self, job: str, number: int) -> Build | None:
        """Return a build; None if there is none of that number."""

    def fetch(self, job: str, number: int, path: str, into: BinaryIO, *, most: int) -> None:
        """Write an archived file into another one.

        Raises:
            ExecutorError: it is not there, or has more than `most` bytes.
        """

    def last_line(self, job: str, number: int) -> str:
        """Return what a build's console says last, but for what Jenkins itself adds; "" if it cannot be read."""

    def cancel(self, number: int) -> None:
        """Take an item out of the queue; one that has left it is left alone."""

    def stop(self, job: str, number: int) -> None:
        """Abort a build; one that has ended is left alone."""

    def another(self) -> "JenkinsServer":
        """Return another client of the same Jenkins: this one may be in the midst of a request."""
