"""The tables of runs, stages, tests, artifacts and images."""

import json
from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from ci_pipeline.cli.output import coloured, local_time, seconds, table
from ci_pipeline.datahub.model import Image, RunResult, RunResults, TestedResult
from ci_pipeline.outcome import Status
from ci_pipeline.stages import BY_NAME, STAGES, STEPS, Stage
from ci_pipeline.wording import size


def of_runs(views: Iterable[RunResults]) -> Table:
    """Return runs, in the given order."""
    rows = [
        (
            view.run,
            f"{view.change.branch}/{view.build_id}",
            str(view.change),
            view.kind,
            coloured(view.progress),
            local_time(view.created_at),
            view.reason,
        )
        for view in views
    ]
    return table("", ("run", "number", "change", "kind", "status", "when", "reason"), rows)


def of_stages(view: RunResults) -> Table:
    """Return the stages of a run: those that have begun, and while it goes on also those to come."""
    known = {stage.stage: stage for stage in begun(view)}
    idle = {stage.stage for stage in view.stages} - set(known)
    names = [stage.name for stage in STAGES if stage.name in known or (view.status is None and stage.name not in idle)]
    rows = [_stage_row(known[name]) if name in known else (name, Text("-"), "", "", "") for name in names]
    return table(
        f"{view.change}, {view.kind}: {view.progress}", ("stage", "status", "seconds", "tools", "what came of it"), rows
    )


def begun(view: RunResults) -> list[TestedResult]:
    """Return the stages that have begun; of steps that had nothing to do, only the first, which says why."""
    known = {stage.stage: stage for stage in view.stages}
    return [stage for stage in view.stages if not _is_idle(known, BY_NAME[stage.stage])]


def _is_idle(known: dict[str, TestedResult], stage: Stage) -> bool:
    steps = STEPS[stage.event]
    return (
        all(one.name in known and known[one.name].status == Status.SKIPPED for one in steps) and stage is not steps[0]
    )


def _stage_row(stage: TestedResult) -> tuple[str | Text, ...]:
    name = stage.stage if stage.try_number <= 1 else f"{stage.stage} (try {stage.try_number})"
    tools = seconds(stage.tool_seconds) if stage.status else ""
    return name, coloured(stage.status or "running"), seconds(stage.seconds), tools, made(stage)


def of_results(found: Iterable[RunResult]) -> Table:
    """Return results of many runs, in the given order."""
    rows = [
        (
            one.id if one.current else f"({one.id}, an older try)",
            one.nvr or str(one.run.change),
            coloured(one.status or "running"),
            local_time(one.ended_at),
            ", ".join(f"{count} {outcome}" for outcome, count in sorted(one.counts.items())),
            one.reason or reused_from(one.reused_from_run),
        )
        for one in found
    ]
    return table("", ("result", "about", "status", "ended", "tests", "reason"), rows)


def of_outputs(view: RunResults) -> Table:
    """Return every output of a run's stages."""
    rows = [
        (stage.stage, key, value if isinstance(value, str) else json.dumps(value))
        for stage in view.stages
        for key, value in sorted(stage.outputs.items())
    ]
    return table("outputs", ("stage", "output", "value"), rows)


def of_tests(view: RunResults) -> Table:
    """Return every test of a run."""
    rows = [
        (
            stage.stage,
            test.name,
            coloured(test.outcome),
            seconds(test.seconds),
            str(test.flaky or ""),
            _first_line(test.message),
        )
        for stage in view.stages
        for test in stage.tests
    ]
    return table("tests", ("stage", "test", "outcome", "seconds", "lately", "message"), rows)


def of_artifacts(view: RunResults) -> Table:
    """Return every file a run made."""
    rows = [
        (stage.stage, artifact.name, artifact.kind, size(artifact.size), artifact.sha256)
        for stage in view.stages
        for artifact in stage.artifacts
    ]
    return table("artifacts", ("stage", "name", "kind", "size", "sha256"), rows)


def of_images(views: Iterable[Image]) -> Table:
    """Return images, in the given order."""
    rows = [
        (
            view.name,
            view.branch,
            size(view.size),
            local_time(view.generated_at),
            local_time(view.smoke_passed_at),
            local_time(view.validated_at),
            local_time(view.removed_at),
            view.manifest_url,
        )
        for view in views
    ]
    return table("", ("image", "branch", "size", "generated", "booted", "validated", "removed", "manifest"), rows)


def made(stage: TestedResult) -> str:
    """Return in a few words what a stage made; if it did not end well, why."""
    if stage.status is None:
        return ""
    if stage.reason:
        return f"{stage.fault}: {stage.reason}" if stage.fault == "infrastructure" else stage.reason
    told = _OUTPUT_WORDS.get(stage.stage, _nothing)(stage.outputs)
    tests = f"{stage.passed} of {len(stage.tests)} tests passed" if stage.tests else ""
    return ", ".join(filter(None, (told, reused_from(stage.reused_from_run), tests)))


def reused_from(run: str) -> str:
    """Say whose output a result took, by the id of its run; nothing for `""`."""
    return f"reused from run {run}" if run else ""


def _nothing(_: dict[str, Any]) -> str:
    return ""


def _composed(outputs: dict[str, Any]) -> str:
    difference = outputs.get("package_diff") or {}
    counts = ((key, len(difference.get(key, ()))) for key in ("added", "changed", "removed"))
    changes = ", ".join(f"{count} {key}" for key, count in counts if count)
    packages = f", packages: {changes}" if changes else ""
    return f"{outputs.get('version', '')} {outputs.get('compose_rev', '')[:12]}{packages}"


def _image(outputs: dict[str, Any]) -> str:
    return f"{outputs.get('image_name', '')} {size(outputs.get('image_size', 0))}"


def _booted(outputs: dict[str, Any]) -> str:
    took = f" in {outputs['boot_seconds']:.1f} s" if "boot_seconds" in outputs else ""
    return f"booted {outputs.get('booted_rev', '')[:12]}{took}"


def _versions(outputs: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in outputs.get("cluster_versions", {}).items())


def _version(outputs: dict[str, Any]) -> str:
    return str(outputs.get("cluster_version", ""))


_OUTPUT_WORDS = {
    "build_package": lambda outputs: str(outputs.get("nvr", "")),
    "compose_ostree": _composed,
    "integration_tests": _booted,
    "generate_image": _image,
    "smoke_test": _booted,
    "configure_cluster": _versions,
    "await_cluster": _version,
}


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]
