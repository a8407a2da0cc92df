"""What `verify` finds: a changed image, manifest or signature, here and wherever it was downloaded to."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ci_pipeline import store
from ci_pipeline.errors import ManifestError, StoreError
from ci_pipeline.manifests.verifying import Verified, verify_file, verify_kept
from ci_pipeline.stages import PROVISION_HOSTS
from ci_pipeline.store import runs
from tests.makers import REV, new_run
from tests.manifests.conftest import IMAGE, OK, KeyPair, Shop, key_pair


def downloaded(shop: Shop, folder: Path) -> Path:
    """Return the image in a folder that has only what lay beside it."""
    shutil.copytree(shop.image.parent, folder)
    return folder / IMAGE


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file of JSON."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_statement(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the statement in an envelope, and leave the signature."""

    def inside(envelope: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(envelope["payload"]))
        change(statement)
        envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    edit(path, inside)


def signed_bytes(envelope: dict[str, Any]) -> bytes:
    """Return what a signature of an envelope is of, as the DSSE protocol defines it."""
    kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (lambda shop: shop.image.write_bytes(b"another"), "is not the image its manifest tells of"),
        (lambda shop: shop.image.unlink(), f"{IMAGE} is not there"),
        (lambda shop: shop.manifest.unlink(), "there is no"),
        (lambda shop: shop.manifest.write_bytes(b"{}"), "is no manifest of this pipeline"),
        (lambda shop: shop.manifest.write_bytes(b" " * (17 << 20)), "is too large"),
        (lambda shop: edit(shop.manifest, lambda told: told.update(version="26.9")), "does not vouch for this"),
        (lambda shop: edit(shop.manifest, lambda told: told.update(schema_version=2)), "schema_version"),
        (lambda shop: edit(shop.manifest, lambda told: told["files"][0].update(path="../../etc/passwd")), "lead to a"),
        (lambda shop: shop.provenance.unlink(), "nothing proves who made it"),
        (lambda shop: shop.provenance.write_bytes(b"[1]"), "is no envelope of a signed statement"),
        (lambda shop: shop.provenance.write_bytes(b"[" * 1_000_000), "is no envelope of a signed statement"),
        (lambda shop: shop.manifest.write_bytes(b"[" * 1_000_000), "is no manifest of this pipeline"),
        (lambda shop: shop.provenance.write_bytes(b'{"payload": 1}'), "is no envelope of a signed statement"),
        (lambda shop: edit(shop.provenance, lambda one: one.update(payloadType="text/plain")), "no in-toto statement"),
        (lambda shop: edit(shop.provenance, lambda one: one.update(signatures=[])), "is not signed with this key"),
        (lambda shop: edit(shop.provenance, lambda one: one["signatures"][0].update(sig="AAAA")), "is not signed"),
        (
            lambda shop: edit_statement(shop.provenance, lambda told: told["predicate"].update(runDetails={})),
            "is not signed with this key, or was changed since",
        ),
        (
            lambda shop: edit_statement(shop.provenance, lambda told: told["subject"].pop(0)),
            f"does not vouch for this {IMAGE}",
        ),
    ],
)
def test_what_was_changed_is_found(
    signed: Shop, pair: KeyPair, tmp_path: Path, tamper: Callable[[Shop], object], sentence: str
) -> None:
    """Here, and in a folder that was downloaded, where there is no database."""
    tamper(signed)
    path = downloaded(signed, tmp_path / "downloads")
    there, here = verify_file(path, key=pair.public), verify_kept(signed.settings, IMAGE)

    assert any(sentence in problem for problem in there.problems), there
    assert any(sentence in problem for problem in here.problems), here


def test_all_is_well_with_what_was_downloaded(signed: Shop, pair: KeyPair, tmp_path: Path) -> None:
    """Also through a symlink, as latest.qcow2 is one."""
    path = downloaded(signed, tmp_path / "downloads")
    link = path.with_name("latest.qcow2")
    link.symlink_to(path.name)

    for name in (path, link):
        assert verify_file(name, key=pair.public) == Verified(str(path), (), (), 0, signed=True)


def test_all_is_well_with_what_is_kept(signed: Shop) -> None:
    """With the key that is configured, and all files of the run."""
    assert verify_kept(signed.settings, IMAGE) == Verified(str(signed.image), (), (), 3, signed=True)


def test_without_a_key_the_signature_is_not_looked_at(signed: Shop, tmp_path: Path) -> None:
    """And that is said; what the statement vouches for is compared all the same."""
    path = downloaded(signed, tmp_path / "downloads")
    done = verify_file(path)
    edit(path.with_name(signed.manifest.name), lambda told: told.update(version="26.9"))

    assert (done.problems, done.signed) == ((), False)
    assert "name the public key with --key" in done.notes[0]
    assert "does not vouch for this" in verify_file(path).problems[0]


def test_another_key_is_not_ours(signed: Shop, tmp_path: Path) -> None:
    """Whoever has the files can sign them."""
    other = key_pair(tmp_path, "other")

    assert "is not signed with this key" in verify_kept(signed.settings, IMAGE, key=other.public).problems[0]
    assert "is not signed with this key" in verify_kept(signed.signing(other.private).settings, IMAGE).problems[0]


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_a_public_key_that_is_none_is_said(signed: Shop, tmp_path: Path, content: bytes | None) -> None:
    """It is the user's to name another."""
    path = tmp_path / "it.pub"
    if content:
        path.write_bytes(content)

    with pytest.raises(ManifestError, match=r"it\.pub (cannot be read|is no public key)"):
        verify_file(signed.image, key=path)


def test_files_that_are_there_are_looked_at(signed: Shop, pair: KeyPair, tmp_path: Path) -> None:
    """Where they were published, beside the image, and where a stage left them; those that are gone are no offence."""
    with store.session() as session:
        run = runs.get(session, "f26/1")
    rpm = signed.branch / "repo" / "builds" / run.run_id / "greeter.rpm"
    log = signed.settings.state / "runs" / run.run_id / "build.log"
    log.unlink()
    fewer = verify_kept(signed.settings, IMAGE)
    log.write_bytes(b"changed")
    rpm.write_bytes(b"changed")
    here, mirrored = verify_kept(signed.settings, IMAGE), verify_file(signed.image, key=pair.public)
    path = downloaded(signed, tmp_path / "downloads")
    path.with_name("greeter.rpm").write_bytes(b"changed")
    beside = verify_file(path, key=pair.public)

    assert (fewer.problems, fewer.files) == ((), 2)
    assert [problem.split(" is not ")[0] for problem in here.problems] == [
        "greeter.rpm of build_package",
        "build.log of build_package",
    ]
    assert [problem.split(" is not ")[0] for problem in mirrored.problems] == ["greeter.rpm of build_package"]
    assert [problem.split(" is not ")[0] for problem in beside.problems] == ["greeter.rpm of build_package"]


def test_the_database_knows_which_manifest_was_written(shop: Shop) -> None:
    """Where nothing is signed, it alone tells a changed one."""
    shop.good_run()
    shop.deliver()
    well = verify_kept(shop.settings, IMAGE)
    edit(shop.manifest, lambda told: told.update(version="26.9"))
    changed = verify_kept(shop.settings, IMAGE)

    assert (well.problems, well.notes) == ((), ("there is no provenance: nothing proves who made this image",))
    assert "is not the file the database knows" in changed.problems[0]


def test_an_image_without_a_manifest_says_why(shop: Shop) -> None:
    """Not validated, not written yet, removed, or not there at all."""
    run = new_run()
    shop.play(run, *[OK] * 5)
    not_validated = verify_kept(shop.settings, IMAGE).problems
    shop.play(run, OK, first=5)
    shop.skip(run, PROVISION_HOSTS, "no cluster")
    shop.complete(run)
    not_written = verify_kept(shop.settings, IMAGE).problems

    assert not_validated == (f"{IMAGE} is not validated, so it has no manifest",)
    assert "the reconciler writes it" in not_written[0]
    with pytest.raises(StoreError, match="`ci-pipeline images` lists them"):
        verify_kept(shop.settings, "no-such.qcow2")


def test_the_signature_is_what_other_programs_take_for_one(signed: Shop, pair: KeyPair, tmp_path: Path) -> None:
    """By OpenSSL, and by the protocol's own words; another payload is refused by both."""
    (line,) = signed.provenance.read_text(encoding="ascii").splitlines()
    envelope = json.loads(line)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    key = load_pem_public_key(pair.public.read_bytes())
    assert isinstance(key, Ed25519PublicKey)

    def openssl(content: bytes) -> int:
        (tmp_path / "content").write_bytes(content)
        (tmp_path / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(pair.public), "-rawin"]
        files = ["-in", str(tmp_path / "content"), "-sigfile", str(tmp_path / "signature")]
        return subprocess.run([*command, *files], capture_output=True, check=False).returncode

    key.verify(signature, signed_bytes(envelope))
    assert openssl(signed_bytes(envelope)) == 0
    assert openssl(signed_bytes(envelope) + b" ") != 0
    with pytest.raises(InvalidSignature):
        key.verify(signature, signed_bytes(envelope) + b" ")


def test_the_statement_is_an_in_toto_one_with_slsa_provenance(signed: Shop) -> None:
    """What was made, of what, by whom, when."""
    envelope = json.loads(signed.provenance.read_bytes())
    told = json.loads(base64.b64decode(envelope["payload"]))
    definition, details = told["predicate"]["buildDefinition"], told["predicate"]["runDetails"]
    source, parent = definition["resolvedDependencies"]

    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert (told["_type"], told["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert [one["name"] for one in told["subject"]] == [IMAGE, signed.manifest.name]
    assert definition["externalParameters"]["rev"] == REV
    assert source["uri"] == f"git+{signed.settings.dist_git.url}/rpms/greeter.git@{REV}"
    assert source["digest"] == {"gitCommit": REV}
    assert parent["digest"] == {"sha256": "1" * 64}
    assert details["builder"]["id"] == signed.settings.airflow.url
    assert details["builder"]["version"]["rpm"] == "4.18.0"
    assert details["metadata"]["invocationId"] == signed.told()["run"]["url"]
    assert details["metadata"]["startedOn"] <= details["metadata"]["finishedOn"]


def test_the_builder_has_the_name_that_is_configured(shop: Shop, pair: KeyPair) -> None:
    """The one downstreams know."""
    signing = shop.signing(pair.private)
    section = signing.settings.provenance.model_copy(update={"builder": "https://ci.example.org/atomic"})
    named = replace(signing, settings=signing.settings.model_copy(update={"provenance": section}))
    named.good_run()
    named.deliver()
    told = json.loads(base64.b64decode(json.loads(shop.provenance.read_bytes())["payload"]))

    assert told["predicate"]["runDetails"]["builder"]["id"] == "https://ci.example.org/atomic"
