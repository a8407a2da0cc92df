"""Who made an image, of what: an in-toto statement with SLSA's provenance, in a signed envelope (DSSE).

Sources: in-toto.io/Statement/v1, slsa.dev/provenance/v1 and the DSSE protocol v1.
"""

import json
from datetime import UTC
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Key, Signature

from ci_pipeline.errors import ManifestError
from ci_pipeline.manifests.manifest import Manifest, manifest_of, told

BUILD_TYPE: Final = "https://github.com/CentOS-PaaS-SIG/ci-pipeline/blob/master/docs/images.md#build-type-1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_SLSA: Final = "https://slsa.dev/provenance/v1"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Subject(_Read):
    """A file that a statement is about; `digest` by algorithm, in hex."""

    name: str
    digest: dict[str, str]


class Statement(_Read):
    """What is read of a statement."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject]
    predicate_type: Literal["https://slsa.dev/provenance/v1"] = Field(alias="predicateType")

    def digest_of(self, name: str) -> str:
        """Return the sha256 it has of a file, "" when it is not about that."""
        return next((one.digest.get("sha256", "") for one in self.subject if one.name == name), "")


def statement(manifest: Manifest, *, manifest_sha256: str, builder: str) -> dict[str, Any]:
    """Return the statement about an image and its manifest.

    Args:
        manifest: all that is known of the image.
        manifest_sha256: of the manifest's file.
        builder: id of who vouches for it, a URL.
    """
    subjects = {manifest.image.name: manifest.image.sha256, manifest_of(manifest.image.name): manifest_sha256}
    return {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in subjects.items()],
        "predicateType": _SLSA,
        "predicate": {"buildDefinition": _definition(manifest), "runDetails": _details(manifest, builder)},
    }


def signed(content: dict[str, Any], signer: CryptoSigner) -> bytes:
    """Return the line of a statement in its signed envelope."""
    envelope = Envelope(json.dumps(content, separators=(",", ":")).encode(), PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), separators=(",", ":")).encode() + b"\n"


def opened(raw: bytes, name: str) -> tuple[Envelope, Statement]:
    """Return the envelope and the statement of a file. Nothing of it is proven yet.

    Raises:
        ManifestError: it is no such file.
    """
    try:
        envelope = Envelope.from_dict(json.loads(raw))
        if envelope.payload_type != PAYLOAD_TYPE:
            raise ManifestError(f"{name} holds {envelope.payload_type[:80]!r} and no in-toto statement")
        return envelope, Statement.model_validate_json(envelope.payload)
    except ValidationError as error:
        raise ManifestError(f"{name} is no provenance: {told(error)}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, SecureSystemsError) as error:
        raise ManifestError(f"{name} is no envelope of a signed statement") from error


def is_signed_by(envelope: Envelope, key: Key) -> bool:
    """Tell whether one of an envelope's signatures is the key's. What they say of whose they are proves nothing."""
    return any(_accepts(key, signature, envelope.pae()) for signature in envelope.signatures.values())


def _accepts(key: Key, signature: Signature, content: bytes) -> bool:
    try:
        key.verify_signature(signature, content)
    except UnverifiedSignatureError:
        return False
    return True


def _definition(manifest: Manifest) -> dict[str, Any]:
    change, run = manifest.change, manifest.run
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "namespace": change.namespace,
            "repo": change.repo,
            "rev": change.rev,
            "branch": manifest.branch,
            "kind": run.kind,
            "options": run.options,
        },
        "internalParameters": {"ref": manifest.ref, "version": manifest.version},
        "resolvedDependencies": [_source(manifest), *_parent(manifest)],
    }


def _source(manifest: Manifest) -> dict[str, Any]:
    change = manifest.change
    return {
        "name": f"{change.namespace}/{change.repo}",
        "uri": f"git+{change.url}@{change.rev}",
        "digest": {"gitCommit": change.rev},
    }


def _parent(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the compose that the image's own is a child of; the first one has none."""
    if not manifest.parent_rev:
        return []
    uri = f"ostree+{manifest.compose_url}@{manifest.parent_rev}"
    return [{"name": manifest.ref, "uri": uri, "digest": {"sha256": manifest.parent_rev}}]


def _details(manifest: Manifest, builder: str) -> dict[str, Any]:
    tools = {name: version for one in manifest.builders.values() for name, version in one.items()}
    return {
        "builder": {"id": builder, "version": tools},
        "metadata": {
            "invocationId": manifest.run.url,
            "startedOn": f"{manifest.run.started_at.astimezone(UTC):{_TIME}}",
            "finishedOn": f"{manifest.run.ended_at.astimezone(UTC):{_TIME}}",
        },
    }
