"""Whether a run gets a cluster and the conformance tests, and for which image."""

from pathlib import Path

from sqlalchemy.orm import Session

from ci_pipeline.conformance_sections import Conformance
from ci_pipeline.kind import SIDE_RUN, Kind
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import GENERATE_IMAGE, INTEGRATION_TESTS, SMOKE_TEST
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import Run


def skip_reason(session: Session, settings: Settings, run: Run) -> str:
    """Return why a run has no conformance tests, or "" when it has them."""
    asked = run.options.get("conformance")
    wanted = asked or settings.conformance.when
    if wanted == "never":
        told = (
            "the run was triggered with conformance = never" if asked else 'conformance.when = "never" in pipeline.toml'
        )
        return f"no conformance tests wanted: {told}"
    if not Kind(run.kind).promotes:
        return SIDE_RUN
    return _no_cluster(settings.conformance) or _no_image(session, run, wanted)


def is_about_the_image(settings: Settings) -> bool:
    """Tell whether what passes there says anything of the image: in a mere control plane nothing runs on it."""
    return settings.conformance.cluster != "control-plane"


def _no_cluster(configured: Conformance) -> str:
    if configured.cluster == "none":
        return 'no cluster: conformance.cluster = "none" in pipeline.toml'
    programs = configured.control_plane.programs
    if configured.cluster == "control-plane" and not Path(programs).expanduser().is_dir():
        return f"no cluster: there is no Kubernetes in {programs}; `make kubernetes` builds it"
    return ""


def _no_image(session: Session, run: Run, wanted: str) -> str:
    results = runs.latest_results(session, run.id)
    passed = {name for name, result in results.items() if result.status == Status.SUCCESS}
    if SMOKE_TEST.name in passed:
        return ""
    if wanted == "with-image":
        skipped = results.get(GENERATE_IMAGE.name)
        return f"no new image: {skipped.reason}" if skipped and skipped.reason else "no new image in this run"
    if INTEGRATION_TESTS.name not in passed:
        return "nothing to test: no host of this run has passed its integration tests"
    return "" if images.newest_good(session, run.branch) else f"{run.branch} has no image that has booted"
