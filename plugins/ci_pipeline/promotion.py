"""Promotion for delivery: whether the image a run made is validated, which is decided when the run ends."""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from ci_pipeline import conformance, rules
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import GENERATE_IMAGE, INTEGRATION_TESTS
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import Run


def settle(session: Session, settings: Settings, run: Run) -> None:
    """Record whether a run's own image is validated, if it made one. All its tries have ended.

    A run that is cleared and ends worse takes the validation back.
    """
    ended = {name: Status(row.status) for name, row in runs.latest_results(session, run.id).items() if row.status}
    validated = _verdict(ended, about_the_image=conformance.is_about_the_image(settings))
    compose_rev = str(runs.outputs(session, run.id).get("compose_rev", ""))
    if validated is not None:
        images.settle(session, run=run.id, compose_rev=compose_rev, validated=validated)


def _verdict(ended: Mapping[str, Status], *, about_the_image: bool) -> bool | None:
    """Return whether the image of the run's compose is validated, None when its earlier verdict stands.

    It stands when the tests were cleared and no image was due then: the one there is was tested before.
    """
    if ended.get(GENERATE_IMAGE.name) is Status.SUCCESS:
        return rules.is_validated(ended, about_the_image=about_the_image)
    host = ended.get(INTEGRATION_TESTS.name)
    return False if host is not None and not rules.is_fine(host) else None
