"""What CI-Pipeline adds to Airflow, registered once."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from operators import links, masking, pages
from operators.revision_timetable import RevisionTimetable

# Airflow's components load this first of all that is ours.
masking.tell_airflow()


class CiPipelinePlugin(AirflowPlugin):
    """The timetable of the branches' DAGs; the links of stages; the pages, and their places; who masks the logs."""

    name = "ci_pipeline"
    timetables: ClassVar[list[type]] = [RevisionTimetable]
    listeners: ClassVar[list[Any]] = [masking]
    operator_extra_links: ClassVar[list[Any]] = links.ALL
    fastapi_apps = pages.fastapi_apps()
    external_views = pages.external_views()
