"""One target under atheris: `python -m tests.fuzz.atheris_targets junit -max_total_time=60`; `make fuzz` runs all."""

import sys
import tempfile
from pathlib import Path

import atheris

# What is fuzzed, and no more: instrumenting all that it imports takes longer than many a run.
_READERS = (
    "ci_junit",
    "ci_results",
    "ci_tmt",
    "ci_lookaside",
    "ci_progress",
    "ci_nevra",
    "ci_rpm",
    "ci_spec",
    "ci_stage",
)
_INSTRUMENTED = [f"ansible.module_utils.{name}" for name in _READERS]

with atheris.instrument_imports(
    include=[*_INSTRUMENTED, "ci_pipeline.executors.report", "ci_pipeline.bus.inbound", "ci_pipeline.gating.asked"]
):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz the target that is named, beginning with its seeds, until libFuzzer's options say it is enough."""
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        for number, seed in enumerate(target.seeds):
            Path(folder, f"seed-{number}").write_bytes(seed)
        atheris.Setup([sys.argv[0], "-max_len=8192", *options, folder], target.read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
