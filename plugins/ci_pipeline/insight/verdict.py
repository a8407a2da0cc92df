"""Is it red because of the package or because of us, and what happens next? Pure: no database, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from ci_pipeline import rules
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BY_NAME, COMPOSE_OSTREE, FUNCTIONAL_TESTS, INTEGRATION_TESTS, STAGES, after

Blame = Literal["", "package", "infrastructure", "ended", "unclear"]

# The tests of these stages are tests of the package and of the host it is on.
_TESTS_OF_THE_PACKAGE: Final = {FUNCTIONAL_TESTS.name, INTEGRATION_TESTS.name}
_NEXT_AFTER_ITS_END: Final[dict[Blame, str]] = {
    "": "Nothing: all of it is done.",
    "package": "Nothing more happens to it: push a fix to dist-git, and that runs by itself.",
    "infrastructure": (
        "Nothing by itself: put right what the reason names, then clear {stage} in Airflow; what follows runs, too."
    ),
    "ended": "Nothing by itself: clear {stage} in Airflow, or trigger the change again.",
    "unclear": "Nothing by itself: look at the failed tests, and clear {stage} in Airflow to run them again.",
}
_WHOSE: Final[dict[Blame, str]] = {
    "": "",
    "package": "the package",
    "infrastructure": "infrastructure",
    "ended": "ended",
    "unclear": "see tests",
}


class Ended(Protocol):
    """A current try of a stage."""

    @property
    def stage(self) -> str:
        """Its stage."""

    @property
    def status(self) -> str | None:
        """None while it runs."""

    @property
    def fault(self) -> str:
        """Whose fault a FAILURE is."""

    @property
    def reason(self) -> str:
        """Why it did not end well."""

    @property
    def try_number(self) -> int:
        """Airflow's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a change stands where it stands.

    Attributes:
        state: `queued`, `running`, or the status it ended with; of a message without a run, the ledger's state.
        blame: whose fault a red one is; "" if it is not red.
        sentence: the answer to "is it red because of the package or because of us?".
        next: what happens next, in one sentence.
    """

    state: str
    blame: Blame
    sentence: str
    next: str

    @property
    def whose(self) -> str:
        """The blame in two words, for a table."""
        return _WHOSE[self.blame]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run.

    Attributes:
        what: the change, as packagers read it.
        gating: whether failed functional tests stop it.
        status: None until it has ended.
        reason: of its end.
        fired: whether Airflow knows of it.
        superseded: whether a newer revision took its place before it began.
        lease_holder: who composes on its branch, `f26/12`, if that is not this run; else "".
        waits_for: what its next stage waits for before it has a builder, in a sentence; else "".
        held_back: why it waits for its turn in the storm lane, in sentences; else "".
    """

    what: str
    gating: bool
    status: str | None
    reason: str
    fired: bool
    superseded: bool = False
    lease_holder: str = ""
    waits_for: str = ""
    held_back: str = ""


def of_run(facts: Facts, tries: Iterable[Ended], settings: Settings) -> Verdict:
    """Judge a run by the current tries of its stages, in pipeline order."""
    known = list(tries)
    bad = culprit(known)
    blame = _blame(facts, bad)
    state = facts.status or ("running" if known or facts.fired else "queued")
    return Verdict(state, blame, _sentence(facts, state, bad, blame), _next(facts, known, bad, blame, settings))


def of_message(number: int, state: str, reason: str) -> Verdict:
    """Judge a message that led to no run."""
    told = reason or "no reason was written down"
    if state == "dead":
        sentence = f"Not run, because the message could not be read: {told}"
        following = f"Nothing until someone replays it: on the Bus page, or with `ci-pipeline dead replay {number}`."
        return Verdict(state, "unclear", _ended(sentence), following)
    if state == "ignored":
        sentence = f"Not red: the message was ignored: {told}"
        return Verdict(state, "", _ended(sentence), "Nothing: what is ignored gets no run.")
    sentence = f"Its run is not in the database any more; the message is {state}{f': {reason}' if reason else ''}"
    return Verdict(state, "unclear", _ended(sentence), "Nothing: trigger the branch's DAG to run it again.")


def culprit(tries: Iterable[Ended]) -> Ended | None:
    """Return the try that makes a run red: the first of the worst ones."""
    bad = [one for one in tries if one.status and not rules.is_fine(Status(one.status))]
    order = (Status.ABORTED, Status.FAILURE, Status.UNSTABLE)
    return next((one for status in order for one in bad if one.status == status), None)


def _blame(facts: Facts, bad: Ended | None) -> Blame:
    if bad is None:
        return "ended" if facts.status not in {None, Status.SUCCESS} else ""
    if bad.status == Status.ABORTED:
        return "ended"
    if bad.status == Status.UNSTABLE:
        return "package" if bad.stage in _TESTS_OF_THE_PACKAGE else "unclear"
    return "infrastructure" if bad.fault == Fault.INFRASTRUCTURE else "package"


def _sentence(facts: Facts, state: str, bad: Ended | None, blame: Blame) -> str:
    why = f"{bad.stage}: {bad.reason or 'no reason was written down'}" if bad else facts.reason
    told = {
        "package": f"Red because of the package: {why}",
        "infrastructure": f"Red because of us, the infrastructure: {why}",
        "unclear": f"Red, and not clear whose fault: the tests of the image failed. {why}",
        "ended": f"Neither the package nor the infrastructure: it was ended. {facts.reason or why}",
        "": _not_red(facts, state),
    }[blame]
    return _ended(told)


def _not_red(facts: Facts, state: str) -> str:
    if state == Status.SUCCESS:
        return f"Not red: {facts.what} passed"
    return f"Not red: {facts.what} is {state}"


def _next(facts: Facts, tries: list[Ended], bad: Ended | None, blame: Blame, settings: Settings) -> str:
    if facts.superseded:
        return "Nothing: the newer revision is run in its place."
    if facts.held_back:
        return facts.held_back
    if facts.waits_for and (not tries or tries[-1].status):
        return _ended(facts.waits_for)
    if facts.status is None:
        return _while_it_goes_on(facts, tries, bad, settings)
    stage = bad.stage if bad else "the stage"
    return _NEXT_AFTER_ITS_END[blame].format(stage=stage)


def _while_it_goes_on(facts: Facts, tries: list[Ended], bad: Ended | None, settings: Settings) -> str:
    if not tries:
        waits = "build_package begins" if facts.fired else "Airflow is told of it (the reconciler looks, too)"
        return f"As soon as there is room, {waits}."
    last = tries[-1]
    if last.status is None:
        return _after_running(last)
    if bad is not None and rules.stops_the_run(BY_NAME[bad.stage], Status(bad.status or ""), gating=facts.gating):
        return _after_red(bad, settings)
    following = after(BY_NAME[last.stage])
    if following is None:
        return "complete sums it up and says so on the bus."
    if facts.lease_holder and following is COMPOSE_OSTREE:
        return f"{following.name} waits for {facts.lease_holder}, which composes or tests its host on this branch."
    return f"{following.name} begins."


def _after_running(running: Ended) -> str:
    following = after(BY_NAME[running.stage])
    then = f"{following.name} follows" if following else "complete sums it up"
    return f"{running.stage} is running; if it ends well, {then}."


def _after_red(bad: Ended, settings: Settings) -> str:
    how = settings.stage(bad.stage)
    if bad.fault == Fault.INFRASTRUCTURE and bad.try_number <= how.retries:
        return f"{bad.stage} is tried again by itself (try {bad.try_number} of {how.retries + 1} failed)."
    return "The stages behind it are not run; complete sums it up."


def _ended(sentence: str) -> str:
    """Return a sentence with its full stop, if what it quotes has brought none."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def progress(tries: Iterable[Ended]) -> str:
    """Return the name of the stage that runs, or that ended last; "" before the first."""
    known = {one.stage: one for one in tries}
    names = [stage.name for stage in STAGES if stage.name in known]
    return names[-1] if names else ""
