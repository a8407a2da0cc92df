"""The key that provenance is signed with, and the one it is verified with; both are files in PEM form."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey

from ci_pipeline.errors import ManifestError
from ci_pipeline.sections import Provenance

_VARIABLE = "CI_PIPELINE_PROVENANCE__PASSPHRASE"
_KINDS = "Ed25519, ECDSA (P-256, P-384, P-521) or RSA"


def signer(configured: Provenance) -> CryptoSigner | None:
    """Return what signs, None when no key is configured.

    Raises:
        ManifestError: the key cannot be used; nothing of it, nor of its passphrase, is in the sentence.
    """
    if not configured.key:
        return None
    private = _private(configured.key, configured.passphrase.get_secret_value())
    try:
        return CryptoSigner(private)
    except ValueError as error:
        raise ManifestError(
            f"provenance.key {configured.key} is of a kind that cannot sign here; use {_KINDS}"
        ) from error


def public_key(path: Path) -> SSlibKey:
    """Return the public key in a file.

    Raises:
        ManifestError: there is none in it.
    """
    try:
        return SSlibKey.from_crypto(load_pem_public_key(path.read_bytes()))
    except OSError as error:
        raise ManifestError(f"the public key {path} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ManifestError(
            f"{path} is no public key in PEM form ({_KINDS}); make one: openssl pkey -pubout"
        ) from error


def _private(path: str, passphrase: str) -> PrivateKeyTypes:
    try:
        pem = Path(path).read_bytes()
    except OSError as error:
        raise ManifestError(f"provenance.key {path} cannot be read: {error.strerror}") from error
    try:
        return load_pem_private_key(pem, passphrase.encode() or None)
    except TypeError as error:
        wrong = "has no passphrase, so unset" if passphrase else "needs its passphrase: set"
        raise ManifestError(f"provenance.key {path} {wrong} {_VARIABLE}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = f"or {_VARIABLE} is wrong" if passphrase else "or it is damaged"
        raise ManifestError(f"provenance.key {path} is no private key in PEM form, {hint}") from error
