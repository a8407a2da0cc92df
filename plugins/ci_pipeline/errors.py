"""Every error this package raises, in one tree.

CiPipelineError
├── SettingsError        pipeline.toml or the environment is wrong: fix the named key
├── ChangeError          a change cannot be made of what arrived: drop it as a dead letter, keep the reason
├── MessageError         a message of ours breaks its schema: a bug here, park it and fix the code
├── PublishError         the bus did not take a message
│   ├── BusUnreachable   retry later, the outbox keeps the message
│   └── MessageRejected  the bus or the schema refuses it for good: park it where an operator sees it
├── AirflowApiError      Airflow did not take a request; the change stays queued and is fired again
│   ├── AirflowUnreachable  nothing can be fired now: wait
│   └── AirflowRefused      this one is refused: look at the others
├── SinkError            a sink did not take a delivery
│   ├── SinkUnreachable  the whole sink takes nothing now: wait, it is never parked
│   ├── SinkFailed       it answered with an error: try again some times, then park the delivery
│   └── SinkRefused      it refuses this delivery for good: park it where an operator sees it
├── DistGitUnreachable   dist-git is away or refuses: try again later
├── WaiverError          a waiver makes no sense as it was asked for: say what is wrong, nothing is stored
├── NoPolicyError        no policy is for what was asked: there is nothing to decide
├── StoreError           the database holds no such row, or not in the state that was asked for
├── DatabaseUnreachable  the database is away or cannot work now: try the whole transaction again later
├── ExecutorError        the stage could not be carried out: an infrastructure fault
│   ├── StageEnded       someone or a limit ended it: ABORTED, never tried again
│   ├── JenkinsAway      Jenkins does not answer, or is starting: look again later
│   └── BuilderError     no builder can be used as it is configured, or it gave back what cannot be taken
│       └── BuilderUnreachable  a builder cannot be reached, or was lost: leave it alone for a while, try elsewhere
├── ManifestError        an image's manifest or provenance, or a key, cannot be written or read: try again later
├── RetentionError       a file could not be tidied up: it is left, the next pass tries again
└── StackError           the local stack (PostgreSQL, RabbitMQ, Airflow) needs a human
"""

from ci_pipeline.redaction import redacted


class CiPipelineError(Exception):
    """The root of the tree. The text is one sentence for a human and says what to do.

    It goes into logs, notes and messages and quotes what libraries say, so secrets are masked in it.
    """

    def __str__(self) -> str:
        """Return the sentence."""
        return redacted(super().__str__())


class SettingsError(CiPipelineError):
    """A setting is missing or wrong. Fix the key the text names; nothing has been started."""


class ChangeError(CiPipelineError):
    """What arrived does not describe a change. Drop it as a dead letter with this text as the reason."""


class MessageError(CiPipelineError):
    """A message we made breaks its own schema. It is not stored; this is a bug."""


class PublishError(CiPipelineError):
    """A message is not on the bus."""


class BusUnreachable(PublishError):
    """The broker is away or too slow. Retry later: the outbox keeps the message."""


class MessageRejected(PublishError):
    """The broker refuses the message. Retrying cannot help: park it with this text."""


class AirflowApiError(CiPipelineError):
    """Airflow did not take a request. The change stays queued and is fired again."""


class AirflowUnreachable(AirflowApiError):
    """The api-server is away, or refuses our account. Wait: nothing can be fired now."""


class AirflowRefused(AirflowApiError):
    """Airflow refuses this one request. Go on with the others; this one is fired again later."""


class SinkError(CiPipelineError):
    """A delivery is not known to be in a sink. The text has the sink's answer."""


class SinkUnreachable(SinkError):
    """The sink is away, overloaded, or refuses our account or address. Wait; what waits is in the database.

    Attributes:
        retry_after: seconds the sink asks us to wait; None if it does not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Take the sentence, and how long the sink asks us to wait."""
        super().__init__(message)
        self.retry_after = retry_after


class SinkFailed(SinkError):
    """The sink answered with an error that may be the delivery's or its own. Try again some times, then park it."""


class SinkRefused(SinkError):
    """The sink refuses this delivery. Trying again cannot help: park it with this text."""


class DistGitUnreachable(CiPipelineError):
    """dist-git did not answer, or not this. Nothing is known of the package: try again later."""


class WaiverError(CiPipelineError):
    """A waiver makes no sense as it was asked for. Tell whoever asked; nothing is stored."""


class NoPolicyError(CiPipelineError):
    """No policy is for what was asked. There is nothing to decide: tell whoever asked."""


class StoreError(CiPipelineError):
    """The database has no such row, or the row is not in the state that was asked for."""


class DatabaseUnreachable(CiPipelineError):
    """The database is away, or cannot work now. Nothing of the transaction is certain: do all of it again later."""


class ExecutorError(CiPipelineError):
    """A stage could not be carried out. Report it as an infrastructure fault; it may be retried."""


class StageEnded(ExecutorError):
    """Someone, or its time limit, ended a stage. Report it as ABORTED; it is not tried again."""


class JenkinsAway(ExecutorError):
    """Jenkins does not answer, or is starting. Nothing is known of the build: look again later."""


class NotKept(ExecutorError):
    """What was to be reused is not there any more as it was. Make it again."""


class BuilderError(ExecutorError):
    """A builder cannot be used: its inventory, what it lacks, or what it gave back. The text says what to do."""


class BuilderUnreachable(BuilderError):
    """A builder cannot be reached, or was lost while it worked. Leave it alone for a while, and try elsewhere."""


class ManifestError(CiPipelineError):
    """An image's manifest or provenance, or a key, cannot be written or read. The image stays: try again later."""


class RetentionError(CiPipelineError):
    """Something could not be removed, and is left as it is. Go on with the rest; the next pass tries again."""


class StackError(CiPipelineError):
    """A part of the local stack is missing, dead or in the way. The text says what to do."""
