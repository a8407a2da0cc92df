"""How the configured Jenkins is connected to, for those who may never do so: what it takes is imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ci_pipeline.executors.jenkins_server import JenkinsServer
    from ci_pipeline.settings import Settings


def connector(settings: Settings) -> Callable[[], JenkinsServer]:
    """Return what connects to the Jenkins of the settings; it raises ExecutorError without an Airflow connection."""

    def connect() -> JenkinsServer:
        # Every task would import the provider and its client otherwise.
        from operators import jenkins_server  # noqa: PLC0415

        return jenkins_server.connect(settings.jenkins.connection)

    return connect
