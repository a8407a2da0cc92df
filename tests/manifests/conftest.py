"""A pipeline that makes images, as far as its journal and its folders show."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ci_pipeline import settings, store
from ci_pipeline.executors.report import Report, ReportedArtifact, ReportedTest
from ci_pipeline.journal import Journal
from ci_pipeline.manifests import writing
from ci_pipeline.outcome import Status, TestOutcome
from ci_pipeline.settings import Settings
from ci_pipeline.stages import (
    BUILD_PACKAGE,
    COMPOSE_OSTREE,
    FUNCTIONAL_TESTS,
    GENERATE_IMAGE,
    PROVISION_HOSTS,
    STAGES,
    Stage,
)
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import Image, Run
from tests.makers import OUTPUTS, new_run, report

OK = Status.SUCCESS
IMAGE: str = OUTPUTS["generate_image"]["image_name"]
CONTENT = b"an image that boots\n" * 1000
BUILDER = {"ci-pipeline": "0.1.0", "kernel": "6.1.0", "rpm": "4.18.0"}
NEVRAS = ["greeter-1.0-1.3.35fdde9.fc26.noarch", "host-base-1-1.x86_64"]


@dataclass(frozen=True)
class Shop:
    """The pipeline. `root` is all there is of it on the disk."""

    settings: Settings
    root: Path

    @property
    def branch(self) -> Path:
        """What is published of the branch."""
        return self.settings.artifacts.folder / "fedora-atomic" / "f26"

    @property
    def image(self) -> Path:
        """The image."""
        return self.branch / "images" / IMAGE

    @property
    def manifest(self) -> Path:
        """The manifest beside it."""
        return self.image.with_name(f"{IMAGE}.manifest.json")

    @property
    def provenance(self) -> Path:
        """The provenance beside it."""
        return self.image.with_name(f"{IMAGE}.intoto.jsonl")

    def told(self) -> dict[str, Any]:
        """Return what the manifest says."""
        content: dict[str, Any] = json.loads(self.manifest.read_bytes())
        return content

    def signing(self, key: Path | str, passphrase: str = "") -> "Shop":
        """Return the same pipeline with a key."""
        section = type(self.settings.provenance)(key=str(key), passphrase=passphrase)
        return replace(self, settings=self.settings.model_copy(update={"provenance": section}))

    def play(self, run: Run, *statuses: Status, first: int = 0, try_number: int = 1, content: bytes = CONTENT) -> None:
        """Let stages of a run begin and end, as `tests.makers.play`, with the files they make."""
        for stage, status in zip(STAGES[first:], statuses, strict=False):
            with store.session() as session:
                journal, row = Journal(session, self.settings), runs.locked(session, run.id)
                journal.begin_stage(row, stage, try_number)
                told = self._report(stage, run, content) if status is OK else report(stage, status, "because")
                journal.finish_stage(row, stage, try_number, told, final=True)

    def skip(self, run: Run, stage: Stage, reason: str, *, try_number: int = 1) -> None:
        """Let a run have nothing to do from a stage on."""
        with store.session() as session:
            Journal(session, self.settings).skip_stage(runs.locked(session, run.id), stage, try_number, reason)

    def complete(self, run: Run) -> Status:
        """End a run."""
        with store.session() as session:
            return Journal(session, self.settings).finish_run(runs.locked(session, run.id))

    def good_run(self, **fields: str) -> Run:
        """Return a run that made an image that booted; there is no cluster."""
        run = new_run(**fields)
        self.play(run, *[OK] * 6)
        self.skip(run, PROVISION_HOSTS, "no cluster")
        assert self.complete(run) is OK
        return run

    def deliver(self) -> list[str]:
        """Write what is missing; return what was done."""
        return [what for _, what in writing.deliver(self.settings)]

    def row(self) -> Image:
        """Return the image as the database has it."""
        with store.session() as session:
            return images.find(session, IMAGE)

    def _report(self, stage: Stage, run: Run, content: bytes) -> Report:
        plain = report(stage)
        extra = {
            BUILD_PACKAGE: lambda: {
                "outputs": {**plain.outputs, "builder": BUILDER},
                "artifacts": [
                    made(self.branch / "repo" / "builds" / run.run_id / "greeter.rpm", "rpm"),
                    made(self.settings.state / "runs" / run.run_id / "build.log", "log"),
                ],
            },
            FUNCTIONAL_TESTS: lambda: {
                "tests": [ReportedTest(name=f"t{number}", outcome=TestOutcome.PASSED) for number in range(2)],
                "artifacts": [made(self.settings.state / "runs" / run.run_id / "junit.xml", "junit")],
            },
            COMPOSE_OSTREE: lambda: {
                "outputs": {**plain.outputs, "parent_rev": "1" * 64, "installed": NEVRAS, "builder": BUILDER}
            },
            GENERATE_IMAGE: lambda: self._generated(plain, content),
        }.get(stage, dict[str, Any])
        return plain.model_copy(update=extra())

    def _generated(self, plain: Report, content: bytes) -> dict[str, Any]:
        """Do what the playbook does."""
        for path in (self.provenance, self.manifest):
            path.unlink(missing_ok=True)
        image = made(self.image, "image", content)
        outputs = {**plain.outputs, "image_sha256": image.sha256, "image_size": image.size, "builder": BUILDER}
        return {"outputs": outputs, "artifacts": [image]}


def made(path: Path, kind: Any, content: bytes | None = None) -> ReportedArtifact:
    """Write a file and return what its stage reports of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or path.name.encode())
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ReportedArtifact(name=path.name, path=str(path), kind=kind, sha256=sha256, size=path.stat().st_size)


@pytest.fixture
def shop(current: Settings, database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A pipeline of the test's own, which commands see, too."""
    monkeypatch.setenv("CI_PIPELINE_ARTIFACTS__FOLDER", str(tmp_path / "artifacts"))
    settings.current.cache_clear()
    return Shop(settings.current().model_copy(update={"state": tmp_path / "state"}), tmp_path)


@dataclass(frozen=True)
class KeyPair:
    """A pair of keys in files; the private one may have a passphrase."""

    private: Path
    public: Path


def key_pair(folder: Path, name: str, passphrase: str = "") -> KeyPair:
    """Make a pair."""
    key = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    pair = KeyPair(folder / f"{name}.pem", folder / f"{name}.pub")
    pair.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    pair.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return pair


@pytest.fixture
def pair(tmp_path: Path) -> KeyPair:
    """The pipeline's keys."""
    return key_pair(tmp_path, "ours")


@pytest.fixture
def signed(shop: Shop, pair: KeyPair) -> Shop:
    """A pipeline whose image has a manifest and provenance."""
    signing = shop.signing(pair.private)
    signing.good_run()
    assert len(signing.deliver()) == 1
    return signing
