"""The manifest of an image, as it is written and read: docs/images.md explains every key."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ci_pipeline.errors import ManifestError

SCHEMA_VERSION: Final = 1
MANIFEST: Final = ".manifest.json"
PROVENANCE: Final = ".intoto.jsonl"


def manifest_of(image: str) -> str:
    """Return the name of the file that describes an image."""
    return f"{image}{MANIFEST}"


def provenance_of(image: str) -> str:
    """Return the name of the file that proves who made an image."""
    return f"{image}{PROVENANCE}"


def beside(image: str) -> tuple[str, ...]:
    """Return the names of the files that go with an image, the one that vouches for the other first."""
    return provenance_of(image), manifest_of(image)


def _stays_near(value: str) -> str:
    parts = PurePosixPath(value).parts
    if value.startswith("/") or "\0" in value or ".." in parts[1:]:
        msg = "must lead to a file of the image's branch"
        raise ValueError(msg)
    return value


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[^/\x00]+$", max_length=255)]
Nearby = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_stays_near)]
Size = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    # What a later release adds is no reason to refuse a manifest.
    model_config = ConfigDict(extra="ignore", frozen=True)


class ManifestImage(_Part):
    """The image. `size` in bytes."""

    name: FileName
    url: str
    format: str
    sha256: Sha256
    size: Size
    generated_at: AwareDatetime


class ManifestChange(_Part):
    """The change that led to the image, and where it can be cloned from."""

    namespace: str
    repo: str
    rev: str
    url: str
    nvr: str
    original_spec_nvr: str


class ManifestRun(_Part):
    """The run that made the image. `options` is what it was asked for by hand, where that differs from the settings."""

    build_id: int
    run_id: str
    url: str
    kind: str
    options: dict[str, str]
    started_at: AwareDatetime
    ended_at: AwareDatetime


class ManifestResult(_Part):
    """How a stage ended. `counts` has the number of its test cases by outcome; `build_id` is of the run it was in."""

    stage: str
    testcase: str
    build_id: int
    status: str
    reason: str
    about_the_image: bool
    counts: dict[str, int]
    started_at: AwareDatetime
    ended_at: AwareDatetime


class ManifestFile(_Part):
    """A file the run made. `path` leads there from the image's folder; "": it is not published. `size` in bytes."""

    stage: str
    name: str
    kind: str
    path: Nearby
    sha256: Sha256
    size: Size


class Manifest(_Part):
    """Everything a downstream needs to know of a validated image.

    `packages` are the NEVRA of all that is installed, None when the compose is of a release that did not say so.
    `builders` has, for each stage that builds, the versions of its tools.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    image: ManifestImage
    validated_at: AwareDatetime
    branch: str
    ref: str
    version: str
    compose_rev: str
    parent_rev: str
    compose_url: str
    packages: list[str] | None
    change: ManifestChange
    run: ManifestRun
    results: list[ManifestResult]
    files: list[ManifestFile]
    builders: dict[str, dict[str, str]]

    def written(self) -> bytes:
        """Return the manifest as its file has it; the same facts make the same bytes."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def read(raw: bytes, name: str) -> Manifest:
    """Return the manifest that the bytes of a file are.

    Raises:
        ManifestError: they are none that this release can read.
    """
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise ManifestError(f"{name} is no manifest of this pipeline: {told(error)}") from error


def told(error: ValidationError) -> str:
    """Return the first of what is wrong, in one line."""
    problem: Any = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])
