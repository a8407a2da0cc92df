"""What CI-Pipeline adds to Airflow, registered once."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from operators import links, masking, pages, preloading
from operators.revision_timetable import RevisionTimetable
from operators.run_weight import RunWeight

# Airflow's components load this first of all that is ours.
masking.tell_airflow()


class CiPipelinePlugin(AirflowPlugin):
    """The branches' timetable, the weights of their tasks, links of stages, pages and where; masking, preloading."""

    name = "ci_pipeline"
    timetables: ClassVar[list[type]] = [RevisionTimetable]
    priority_weight_strategies: ClassVar[list[type]] = [RunWeight]
    listeners: ClassVar[list[Any]] = [masking, preloading]
    operator_extra_links: ClassVar[list[Any]] = links.ALL
    fastapi_apps = pages.fastapi_apps()
    external_views = pages.external_views()
