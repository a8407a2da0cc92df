"""`make bench`: measures the pipeline beside its yardsticks. `python -m tests.benchmarks --help` lists the options."""

import argparse
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

NAMES = ("intake", "composes", "change", "reaction", "several", "footprint", "scale")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--messages", type=int, default=25_000, help="of a storm (25000)")
    parser.add_argument("--storms", type=int, default=3, help="so many times over (3)")
    parser.add_argument("--composes", type=int, default=5, help="of each host (5)")
    parser.add_argument("--rounds", type=int, default=3, help="of whole changes (3)")
    parser.add_argument("--pushes", type=int, default=20, help="whose reaction is timed (20)")
    parser.add_argument("--at-once", type=int, default=8, choices=(2, 4, 8), help="changes side by side (8)")
    parser.add_argument("--idle-seconds", type=int, default=60, help="for which the idle stack is watched (60)")
    parser.add_argument("--runs", type=int, default=100_000, help="in the database of the pages (100000)")
    parser.add_argument("--json", type=Path, help="where to write; default: .ci-pipeline/bench/TIME.json")
    parser.add_argument("--keep", action="store_true", help="keep the folder of servers, logs and workspaces")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.names) - set(NAMES)):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    chosen.names = chosen.names or list(NAMES)
    chosen.json = chosen.json or Path(f".ci-pipeline/bench/{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json")
    return chosen


def _forget_pipelines(state: Path) -> None:
    """Let nothing see the state, or the environment, of a pipeline or an Airflow that runs here."""
    for name in [name for name in os.environ if name.startswith(("CI_PIPELINE_", "AIRFLOW_"))]:
        del os.environ[name]
    os.environ["AIRFLOW_HOME"] = str(state / "airflow")
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


def main() -> int:
    """Measure what is asked for, and leave nothing running; return how many benchmarks failed."""
    options = _options()
    state = Path(tempfile.mkdtemp(prefix="ci-pipeline-bench-"))
    state.chmod(0o711)  # sandboxes and PostgreSQL's account reach their own folders below it
    try:
        _forget_pipelines(state)
        # Only now: Airflow reads its environment when it is imported.
        from tests.benchmarks.program import run  # noqa: PLC0415

        return run(options, state)
    finally:
        if not options.keep:
            shutil.rmtree(state, ignore_errors=True)


sys.exit(main())
