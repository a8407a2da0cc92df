"""What a manifest says of an image, read from the database."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline import addresses, conformance, dist_git
from ci_pipeline.bus.schemas import testcase_of
from ci_pipeline.errors import ManifestError
from ci_pipeline.manifests.manifest import (
    Manifest,
    ManifestChange,
    ManifestFile,
    ManifestImage,
    ManifestResult,
    ManifestRun,
    told,
)
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import (
    BY_NAME,
    COMPOSE_OSTREE,
    CONFORMANCE_TESTS,
    GENERATE_IMAGE,
    PROVISION_HOSTS,
    STAGES,
    STEPS,
)
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Image, Run, StageResult

_BEFORE = STAGES[: STAGES.index(GENERATE_IMAGE) + 1]


def manifest(session: Session, settings: Settings, image: Image) -> Manifest:
    """Return the manifest of a validated image.

    Raises:
        ManifestError: what its stages reported is not what a manifest needs.
    """
    run = session.get_one(Run, image.run_id)
    if image.validated_at is None:
        raise ManifestError(f"{image.name} is not validated, so it has no manifest")
    tries = tries_of(session, image)
    known = {key: value for one in tries for key, value in one.outputs.items()}
    try:
        return Manifest(
            image=_image(settings, image),
            validated_at=image.validated_at,
            branch=image.branch,
            ref=settings.ref_of(image.branch),
            version=image.version,
            compose_rev=image.compose_rev,
            parent_rev=known.get("parent_rev", ""),
            compose_url=addresses.compose_of(settings, image.branch),
            packages=_of(tries, COMPOSE_OSTREE.name).get("installed"),
            change=_change(settings, run, known),
            run=_run(settings, run),
            results=_results(session, settings, image, run, tries),
            files=[file for file, _ in files(settings, image, tries)],
            builders={one.stage: one.outputs["builder"] for one in tries if one.outputs.get("builder")},
        )
    except ValidationError as error:
        raise ManifestError(f"{image.name} cannot have a manifest: its run reported no usable {told(error)}") from error


def tries_of(session: Session, image: Image) -> list[StageResult]:
    """Return the tries that made and tested an image, in pipeline order: not those of an image before or after it.

    Raises:
        ManifestError: no try of its run says that it made this image.
    """
    query = select(StageResult).where(StageResult.run_id == image.run_id).order_by(StageResult.id)
    rows = list(session.scalars(query))
    made = [one.id for one in rows if one.stage == GENERATE_IMAGE.name and _is_of(one, image)]
    if not made:
        raise ManifestError(f"{image.name} cannot have a manifest: no stage of its run says that it made it")
    again = [one.id for one in rows if one.id > made[-1] and BY_NAME[one.stage] in _BEFORE]
    current = [one for one in rows if not again or one.id < again[0]]
    return list(runs.current_tries(current).values())


def files(settings: Settings, image: Image, tries: Sequence[StageResult]) -> list[tuple[ManifestFile, Path]]:
    """Return the files that tries made, each with where it is on this machine."""
    return [
        (
            ManifestFile(
                stage=one.stage,
                name=made.name,
                kind=made.kind,
                path=_nearby(settings, image, made.path),
                sha256=made.sha256,
                size=made.size,
            ),
            Path(made.path),
        )
        for one in tries
        for made in one.artifacts
    ]


def _is_of(one: StageResult, image: Image) -> bool:
    return (one.outputs.get("image_name"), one.outputs.get("image_sha256")) == (image.name, image.sha256)


def _of(tries: Sequence[StageResult], stage: str) -> dict[str, Any]:
    return next((one.outputs for one in tries if one.stage == stage), {})


def _nearby(settings: Settings, image: Image, path: str) -> str:
    """Return how a file is found from the image's folder, "" when it is not among the branch's artifacts."""
    branch = settings.artifacts.folder / "fedora-atomic" / image.branch
    published = Path(path).is_relative_to(branch) and ".." not in Path(path).parts
    return os.path.relpath(path, branch / "images") if published else ""


def _image(settings: Settings, image: Image) -> ManifestImage:
    return ManifestImage(
        name=image.name,
        url=addresses.image_of(settings, image.branch, image.name),
        format=Path(image.name).suffix.removeprefix("."),
        sha256=image.sha256,
        size=image.size,
        generated_at=image.generated_at,
    )


def _change(settings: Settings, run: Run, known: dict[str, Any]) -> ManifestChange:
    return ManifestChange(
        namespace=run.namespace,
        repo=run.repo,
        rev=run.rev,
        url=_without_password(dist_git.url_of(settings, f"{run.namespace}/{run.repo}")),
        nvr=known.get("nvr", ""),
        original_spec_nvr=known.get("original_spec_nvr", ""),
    )


def _without_password(url: str) -> str:
    """Return a clone URL as everybody may read it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.password else url


def _run(settings: Settings, run: Run) -> ManifestRun:
    return ManifestRun(
        build_id=run.number,
        run_id=run.run_id,
        url=addresses.run_in_airflow(settings, run.dag_id, run.run_id),
        kind=run.kind,
        options=run.options,
        started_at=run.created_at,
        ended_at=run.ended_at or run.created_at,
    )


def _results(
    session: Session, settings: Settings, image: Image, run: Run, tries: Sequence[StageResult]
) -> list[ManifestResult]:
    own = [_result(settings, run, one) for one in tries]
    later = _tested_later(session, image)
    return own + [_result(settings, later, one) for one in _conformance_of(session, later)] if later else own


def _result(settings: Settings, run: Run, one: StageResult) -> ManifestResult:
    is_conformance = BY_NAME[one.stage] in STEPS[CONFORMANCE_TESTS.event]
    return ManifestResult(
        stage=one.stage,
        testcase=testcase_of(BY_NAME[one.stage].event, settings.bus.topic_prefix),
        build_id=run.number,
        status=one.status or Status.ABORTED,
        reason=one.reason,
        about_the_image=not is_conformance or conformance.is_about_the_image(settings),
        counts=dict(sorted(Counter(test.outcome for test in one.tests).items())),
        started_at=one.started_at,
        ended_at=one.ended_at or one.started_at,
    )


def _tested_later(session: Session, image: Image) -> Run | None:
    """Return the newest run without an image of its own whose conformance tests passed on this one."""
    on_it = StageResult.outputs.contains({"image_name": image.name, "image_sha256": image.sha256})
    query = select(Run).join(StageResult).where(Run.branch == image.branch, Run.id != image.run_id)
    tested = query.where(StageResult.stage == PROVISION_HOSTS.name, on_it).order_by(Run.id.desc()).distinct()
    return next((run for run in session.scalars(tested) if _passed(session, run)), None)


def _passed(session: Session, run: Run) -> bool:
    return any(
        one.stage == CONFORMANCE_TESTS.name and one.status == Status.SUCCESS for one in _conformance_of(session, run)
    )


def _conformance_of(session: Session, run: Run) -> list[StageResult]:
    steps = {step.name for step in STEPS[CONFORMANCE_TESTS.event]}
    return [one for name, one in runs.latest_results(session, run.id).items() if name in steps]
