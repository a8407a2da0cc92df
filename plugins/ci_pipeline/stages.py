"""The stages of the pipeline, in order, and the events each announces.

Order: the seed's prose (integration tests before the image is generated). Events: the message contract. The last four
are steps of one thing to the world: it begins with the first of them, and ends with the last or with one that fails.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its name (task id and playbook), its event prefix on the bus and whether it announces `queued`."""

    name: str
    event: str
    announces_queued: bool = False

    @property
    def queued(self) -> str:
        """The event that says the stage is about to run."""
        return f"{self.event}.queued"

    @property
    def running(self) -> str:
        """The event that says the stage has started."""
        return f"{self.event}.running"

    @property
    def complete(self) -> str:
        """The event that says the stage has ended, however it ended."""
        return f"{self.event}.complete"

    @property
    def skipped(self) -> str:
        """That the stage has nothing to do: no event of the bus, but of what is told beside it."""
        return f"{self.event}.skipped"


BUILD_PACKAGE: Final = Stage("build_package", "package")
FUNCTIONAL_TESTS: Final = Stage("functional_tests", "package.test.functional", announces_queued=True)
COMPOSE_OSTREE: Final = Stage("compose_ostree", "compose")
INTEGRATION_TESTS: Final = Stage("integration_tests", "compose.test.integration", announces_queued=True)
GENERATE_IMAGE: Final = Stage("generate_image", "image")
SMOKE_TEST: Final = Stage("smoke_test", "image.test.smoke")
PROVISION_HOSTS: Final = Stage("provision_hosts", "image.test.conformance", announces_queued=True)
CONFIGURE_CLUSTER: Final = Stage("configure_cluster", "image.test.conformance", announces_queued=True)
AWAIT_CLUSTER: Final = Stage("await_cluster", "image.test.conformance", announces_queued=True)
CONFORMANCE_TESTS: Final = Stage("conformance_tests", "image.test.conformance", announces_queued=True)

STAGES: Final = (
    BUILD_PACKAGE,
    FUNCTIONAL_TESTS,
    COMPOSE_OSTREE,
    INTEGRATION_TESTS,
    GENERATE_IMAGE,
    SMOKE_TEST,
    PROVISION_HOSTS,
    CONFIGURE_CLUSTER,
    AWAIT_CLUSTER,
    CONFORMANCE_TESTS,
)
BY_NAME: Final = {stage.name: stage for stage in STAGES}
# By event, in order: the stages that announce it.
STEPS: Final = {one.event: tuple(stage for stage in STAGES if stage.event == one.event) for one in STAGES}

IGNORE: Final = "package.ignore"
QUEUED: Final = "package.queued"
COMPLETE: Final = "complete"


def after(stage: Stage) -> Stage | None:
    """Return the stage that follows, or None after the last."""
    position = STAGES.index(stage) + 1
    return STAGES[position] if position < len(STAGES) else None


def next_step(stage: Stage) -> Stage | None:
    """Return the stage that follows, if the two are steps of one thing to the world."""
    following = after(stage)
    return following if following and following.event == stage.event else None
