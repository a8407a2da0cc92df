"""What Airflow's components load for the tasks that are forked from them."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# A component that has begun, and then tasks, which read their DAGs and make a message.
COMPONENT_AND_TASK = """
import json, runpy, sys
import airflow.settings
import ci_pipeline_plugin
from fedora_messaging import message
from operators import preloading
preloading.on_starting()
loaded = set(sys.modules)
message.load_message_classes = None
from ci_pipeline.bus import schemas
found = {}
for dag in sys.argv[1:]:
    runpy.run_path(dag)
    message.get_name(schemas.CompleteV1)
    found[dag] = sorted(name for name in set(sys.modules) - loaded if name.startswith(("ci_pipeline", "operators")))
print(json.dumps(found))
"""


def test_a_task_finds_all_of_ours_loaded() -> None:
    """So it begins sooner, and takes less: whatever its stage is."""
    names = ("branch_pipelines", "ci_pipeline_reconciler", "ci_pipeline_retention", "ci_pipeline_datahub")
    dags = [str(PROJECT / "dags" / f"{name}.py") for name in names]
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "plugins")}
    code = [sys.executable, "-c", COMPONENT_AND_TASK, *dags]
    done = subprocess.run(code, capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {dag: [] for dag in dags}
