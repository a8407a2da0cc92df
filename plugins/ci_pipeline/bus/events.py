"""From what is known of a run to the body of a message. Pure: no clock, no settings, no database.

Source of the keys and of how an unknown value is written: the message contract and the recorded messages.
"""

from dataclasses import dataclass
from typing import Final

from ci_pipeline.bus.schemas import NOT_YET, class_of, topic_of
from ci_pipeline.change import Change
from ci_pipeline.outcome import Status
from ci_pipeline.stages import BUILD_PACKAGE, COMPLETE, COMPOSE_OSTREE, GENERATE_IMAGE

CI_TYPE: Final = "custom"
IMAGE_TYPE: Final = "qcow2"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run at one moment. `""` is "not known (yet)".

    Attributes:
        ci_name: Name of the pipeline that speaks: the branch's, or the trigger's for `package.ignore` and `.queued`.
        change: What was pushed, and the branch.
        ref: OSTree ref of the branch: `fedora/f26/x86_64/atomic-host`.
        build_id: The run's number, counting up per branch.
        build_url: Page of the run.
        topic_prefix: What our topics start with: `org.centos.prod`.
        status: Of the stage and the run by now.
        nvr: Stamped NVR: `gnutls-3.5.15-1.246.a3e666c.fc26`.
        original_spec_nvr: NVR of the unmodified spec: `gnutls-3.5.15-1.fc26`.
        compose_rev: OSTree commit, 64 hex digits.
    """

    ci_name: str
    change: Change
    ref: str
    build_id: int
    build_url: str
    topic_prefix: str
    status: Status
    test_guidance: str = NOT_YET
    username: str = "fedora-atomic"
    message_content: str = ""
    original_spec_nvr: str = ""
    nvr: str = ""
    package_url: str = ""
    compose_url: str = ""
    compose_rev: str = ""
    image_name: str = ""
    image_url: str = ""


# What a message must not say even if a fact is known by then (a stage that is tried again knows its first try's).
_UNKNOWN_AT: Final[dict[str, dict[str, str]]] = {
    BUILD_PACKAGE.running: {"nvr": "", "original_spec_nvr": "", "compose_rev": ""},
    BUILD_PACKAGE.complete: {"compose_rev": ""},
    COMPOSE_OSTREE.running: {"compose_rev": NOT_YET},
    GENERATE_IMAGE.running: {"image_name": NOT_YET, "image_url": NOT_YET},
}
_MADE_BY_A_STAGE: Final = frozenset({"compose_rev", "image_name", "image_url"})


def body(event: str, facts: RunFacts) -> dict[str, str]:
    """Return the body of an event's message: exactly the contract's keys, every value a string.

    What a later stage makes is `"''"` while unknown, except in `package.*` and `complete`, which say `""`: so the
    recorded messages of the former, and `complete` has their keys (a run whose build failed never had a compose).

    Raises:
        MessageError: there is no such event.
    """
    keys = class_of(event).body_schema["required"]
    values = _values(event, facts) | _UNKNOWN_AT.get(event, {})
    return {key: _written(event, key, values[key]) for key in keys}


def _written(event: str, key: str, value: str) -> str:
    unmade = not value and key in _MADE_BY_A_STAGE
    says_empty = event == COMPLETE or event.startswith(f"{BUILD_PACKAGE.event}.")
    return NOT_YET if unmade and not says_empty else value


def _values(event: str, facts: RunFacts) -> dict[str, str]:
    change = facts.change
    return {
        "CI_NAME": facts.ci_name,
        "CI_TYPE": CI_TYPE,
        "branch": change.branch,
        "build_id": str(facts.build_id),
        "build_url": facts.build_url,
        "compose_rev": facts.compose_rev,
        "compose_url": facts.compose_url,
        "image_name": facts.image_name,
        "image_url": facts.image_url,
        "message-content": facts.message_content,
        "namespace": change.namespace,
        "nvr": facts.nvr,
        "original_spec_nvr": facts.original_spec_nvr,
        "package_url": facts.package_url,
        "ref": facts.ref,
        "repo": change.repo,
        "rev": change.rev,
        "status": str(facts.status),
        "test_guidance": facts.test_guidance,
        "topic": topic_of(event, facts.topic_prefix),
        "type": IMAGE_TYPE,
        "username": facts.username,
    }
