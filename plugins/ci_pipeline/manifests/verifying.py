"""Verifies an image against what lies beside it: here, where the database knows it, or where it was downloaded to."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from securesystemslib.dsse import Envelope
from securesystemslib.signer import Key

from ci_pipeline import store
from ci_pipeline.errors import ManifestError
from ci_pipeline.manifests import contents, files, keys, provenance
from ci_pipeline.manifests.manifest import Manifest, ManifestFile, manifest_of, provenance_of, read
from ci_pipeline.manifests.writing import folder_of
from ci_pipeline.settings import Settings
from ci_pipeline.store import images
from ci_pipeline.store.tables import Image


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it.

    Attributes:
        image: path of the image.
        problems: a sentence for whatever is wrong; none: all is well.
        notes: a sentence for whatever could not be looked at, and is no offence.
        files: how many of the manifest's other files were there and were looked at.
        signed: whether the signature was verified with a key.
    """

    image: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    files: int
    signed: bool


def verify_file(path: Path, *, key: Path | None = None) -> Verified:
    """Verify an image that lies somewhere with its manifest beside it; no database is asked.

    Args:
        path: the image, or a symlink to it.
        key: file of the public key that has to have signed it; None: the signature is not looked at.

    Raises:
        ManifestError: the key cannot be read.
    """
    check = _Check(path.resolve(), keys.public_key(key) if key else None)
    check.run({})
    return check.result()


def verify_kept(settings: Settings, name: str, *, key: Path | None = None) -> Verified:
    """Verify an image of this pipeline, also against the database.

    Args:
        settings: where it is; without `key`, its signing key is the one that has to have signed it.
        name: the image's.
        key: as in `verify_file`.

    Raises:
        StoreError: there is no such image.
        ManifestError: a key cannot be read.
    """
    with store.session() as session:
        image = images.find(session, name)
        tries = contents.tries_of(session, image) if image.has_manifest else []
        known = dict(contents.files(settings, image, tries))
    path = folder_of(settings, image.branch) / name
    if not image.has_manifest:
        return Verified(str(path), (_absent(image),), (), 0, signed=False)
    signer = None if key else keys.signer(settings.provenance)
    check = _Check(path, keys.public_key(key) if key else (signer.public_key if signer else None))
    check.run(known, image)
    return check.result()


def _absent(image: Image) -> str:
    if image.removed_at:
        return f"{image.name} was removed at {image.removed_at:%Y-%m-%d %H:%M} UTC ([retention])"
    if image.validated_at:
        return f"{image.name} has no manifest yet; the reconciler writes it, and its log says what keeps it from that"
    return f"{image.name} is not validated, so it has no manifest"


@dataclass
class _Check:
    """One image being verified. `key` is None when the signature is not to be looked at."""

    image: Path
    key: Key | None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    signed: bool = False

    def result(self) -> Verified:
        """Return what came of it."""
        return Verified(str(self.image), tuple(self.problems), tuple(self.notes), self.files, self.signed)

    def run(self, known: Mapping[ManifestFile, Path], row: Image | None = None) -> None:
        """Look at everything; `known` has where files are on this machine, `row` is what the database has."""
        raw = self._content(manifest_of(self.image.name), "it is not validated, or the file was not downloaded")
        sha256 = self._digest(self.image)
        if raw is None:
            return
        digests = {self.image.name: sha256, manifest_of(self.image.name): hashlib.sha256(raw).hexdigest()}
        if row is not None:
            self._compare(digests, {self.image.name: row.sha256, manifest_of(self.image.name): row.manifest_sha256})
        self._provenance(digests)
        try:
            manifest = read(raw, manifest_of(self.image.name))
        except ManifestError as error:
            self.problems.append(str(error))
            return
        self._image(manifest, sha256)
        self._files(manifest, known)

    def _content(self, name: str, otherwise: str) -> bytes | None:
        try:
            return files.content_of(self.image.with_name(name))
        except FileNotFoundError:
            self.problems.append(f"there is no {name} beside the image: {otherwise}")
        except (OSError, ManifestError) as error:
            self.problems.append(_sentence(error, name))
        return None

    def _digest(self, path: Path) -> str:
        try:
            return files.digest_of(path)
        except FileNotFoundError:
            self.problems.append(f"{path.name} is not there")
        except OSError as error:
            self.problems.append(_sentence(error, path.name))
        return ""

    def _compare(self, found: Mapping[str, str], stored: Mapping[str, str]) -> None:
        changed = [name for name, sha256 in found.items() if sha256 and sha256 != stored[name]]
        self.problems += [f"{name} is not the file the database knows: its sha256 is {found[name]}" for name in changed]

    def _image(self, manifest: Manifest, sha256: str) -> None:
        if sha256 and sha256 != manifest.image.sha256:
            told = f"its sha256 is {sha256}, not {manifest.image.sha256}"
            self.problems.append(f"{self.image.name} is not the image its manifest tells of: {told}")

    def _files(self, manifest: Manifest, known: Mapping[ManifestFile, Path]) -> None:
        others = [one for one in manifest.files if one.kind != "image"]
        names = Counter(one.name for one in others)
        for one in others:
            places = [known[one]] if one in known else self._places(one, alone=names[one.name] == 1)
            found = next((place for place in places if place.is_file()), None)
            if found is None:
                continue
            self.files += 1
            if self._digest(found) not in {"", one.sha256}:
                self.problems.append(f"{one.name} of {one.stage} is not the file the manifest tells of: {found}")

    def _places(self, one: ManifestFile, *, alone: bool) -> list[Path]:
        """Return where a file may be: as it was published, or beside the image, if it is the only one of its name."""
        published = [self.image.parent / one.path] if one.path else []
        alone = alone and "/" not in one.name and one.name not in {"", ".", ".."}
        return [*published, self.image.with_name(one.name)] if alone else published

    def _provenance(self, digests: Mapping[str, str]) -> None:
        name = provenance_of(self.image.name)
        if not self.key and not self.image.with_name(name).exists():
            self.notes.append("there is no provenance: nothing proves who made this image")
            return
        raw = self._content(name, "nothing proves who made it")
        if raw is not None:
            try:
                self._signature(name, *provenance.opened(raw, name), digests)
            except ManifestError as error:
                self.problems.append(str(error))

    def _signature(self, name: str, envelope: Envelope, told: provenance.Statement, digests: Mapping[str, str]) -> None:
        for subject, sha256 in digests.items():
            if sha256 and told.digest_of(subject) != sha256:
                self.problems.append(f"{name} does not vouch for this {subject}")
        if self.key is None:
            self.notes.append(f"who signed {name} was not looked at: name the public key with --key")
        elif provenance.is_signed_by(envelope, self.key):
            self.signed = True
        else:
            self.problems.append(f"{name} is not signed with this key, or was changed since")


def _sentence(error: Exception, name: str) -> str:
    strerror = getattr(error, "strerror", None)
    return f"{name} cannot be read: {strerror}" if strerror else str(error)
