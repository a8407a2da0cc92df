"""The links of a stage in the Airflow UI. They are looked up when they are shown: a running stage has them, too.

Airflow keeps a link that an operator itself has in an XCom when its task ends; one of a plugin it asks for in the
api-server. These are of a plugin: a task that was killed has links, and an earlier try has its own.
"""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import BaseOperatorLink

from ci_pipeline import addresses, settings, store
from ci_pipeline.errors import CiPipelineError
from ci_pipeline.store import runs
from operators.await_cluster import AwaitClusterOperator
from operators.build_package import BuildPackageOperator
from operators.compose_ostree import ComposeOstreeOperator
from operators.configure_cluster import ConfigureClusterOperator
from operators.conformance_tests import ConformanceTestsOperator
from operators.functional_tests import FunctionalTestsOperator
from operators.generate_image import GenerateImageOperator
from operators.integration_tests import IntegrationTestsOperator
from operators.provision_hosts import ProvisionHostsOperator
from operators.smoke_test import SmokeTestOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

log = logging.getLogger(__name__)

_STAGES: list[type[BaseOperator]] = [
    BuildPackageOperator,
    FunctionalTestsOperator,
    ComposeOstreeOperator,
    IntegrationTestsOperator,
    GenerateImageOperator,
    SmokeTestOperator,
    ProvisionHostsOperator,
    ConfigureClusterOperator,
    AwaitClusterOperator,
    ConformanceTestsOperator,
]
# Airflow asks for the links of a task one by one, in one request.
_SECONDS_REMEMBERED = 2


class StageLink(BaseOperatorLink):
    """One link of a stage. It is "" when there is nothing to show yet: then the UI shows none."""

    name = ""
    operators: ClassVar[list[type[BaseOperator]]] = _STAGES

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address."""
        now = int(time.monotonic() / _SECONDS_REMEMBERED)
        return _addresses(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.try_number, now).get(self.name, "")


class LogLink(StageLink):
    """What the stage's tool said."""

    name = addresses.LOG


class PackagesLink(StageLink):
    """The repository with the run's RPMs."""

    name = addresses.PACKAGES


class ComposeLink(StageLink):
    """The OSTree repository that has the run's commit."""

    name = addresses.COMPOSE
    operators: ClassVar[list[type[BaseOperator]]] = _STAGES[2:]


class ImageLink(StageLink):
    """The run's image."""

    name = addresses.IMAGE
    operators: ClassVar[list[type[BaseOperator]]] = _STAGES[4:]


class MessagesLink(StageLink):
    """What the run has said on the bus."""

    name = addresses.MESSAGES


class ResultsLink(StageLink):
    """Every result of the run."""

    name = addresses.RESULTS


class JenkinsLink(StageLink):
    """The Jenkins build that carried the stage out."""

    name = addresses.JENKINS


ALL = [LogLink(), PackagesLink(), ComposeLink(), ImageLink(), MessagesLink(), ResultsLink(), JenkinsLink()]


@lru_cache(maxsize=256)
def _addresses(dag_id: str, run_id: str, task: str, try_number: int, _now: int) -> dict[str, str]:
    """Return the addresses of a try. Without the database there are none: the page it is shown on must not break."""
    try:
        with store.session() as session:
            run = runs.find(session, dag_id, run_id)
            return addresses.of_try(session, settings.current(), run, task, try_number) if run else {}
    except CiPipelineError as error:
        log.warning("the links of %s %s are not known: %s", run_id, task, error)
        return {}
