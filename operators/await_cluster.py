"""Wait until the cluster is really ready."""

from ci_pipeline.stages import AWAIT_CLUSTER
from operators.stage import StageOperator


class AwaitClusterOperator(StageOperator):
    """Looks at the API server, the nodes and the core deployments until all are there; between looks it is deferred."""

    stage = AWAIT_CLUSTER
    ui_color = "#e0f7fa"
