"""Manifests are written of what is validated, and only of that, through whatever comes in between."""

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ci_pipeline import store
from ci_pipeline.outcome import Status
from ci_pipeline.stages import PROVISION_HOSTS
from ci_pipeline.store import runs
from ci_pipeline.store.tables import STALE, Image
from tests.canaries import Canaries, canary
from tests.makers import new_run
from tests.manifests.conftest import IMAGE, KeyPair, Shop, key_pair

OK = Status.SUCCESS
CRASH = """
import os, sys
from ci_pipeline import settings
from ci_pipeline.manifests import files, writing
write = files.write
def cut_short(path, content):
    if sys.argv[1] == "before":
        path.with_name(f".{path.name}.1").write_bytes(content[:100])
    else:
        write(path, content)
    os._exit(9)
files.write = cut_short
writing.deliver(settings.current())
"""


def test_a_key_that_is_not_there_keeps_back_the_manifest_and_says_so(
    shop: Shop, pair: KeyPair, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing unsigned goes out where a key is configured; once it is there, all is written."""
    signing = shop.signing(shop.root / "ours.pem")
    pair.private.rename(shop.root / "away.pem")
    signing.good_run()
    with caplog.at_level(logging.WARNING):
        before = signing.deliver()
    (shop.root / "away.pem").rename(pair.private)
    after = signing.deliver()

    assert before == []
    assert f"provenance.key {pair.private} cannot be read: No such file" in caplog.text
    assert after == [f"{IMAGE} is validated: its manifest is written"]
    assert shop.provenance.is_file()
    assert shop.row().has_manifest


@pytest.mark.parametrize(
    ("made_with", "given", "sentence"),
    [
        ("", "hunter2", "has no passphrase, so unset CI_PIPELINE_PROVENANCE__PASSPHRASE"),
        ("hunter2", "", "needs its passphrase: set CI_PIPELINE_PROVENANCE__PASSPHRASE"),
        ("hunter2", "hunter3", "is no private key in PEM form, or CI_PIPELINE_PROVENANCE__PASSPHRASE is wrong"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_said_and_not_shown(
    shop: Shop, caplog: pytest.LogCaptureFixture, made_with: str, given: str, sentence: str
) -> None:
    """The sentence names the variable."""
    signing = shop.signing(key_pair(shop.root, "locked", made_with).private, given)
    signing.good_run()
    with caplog.at_level(logging.WARNING):
        signing.deliver()

    assert sentence in caplog.text
    assert "hunter" not in caplog.text
    assert not shop.manifest.exists()


def test_neither_key_nor_passphrase_is_in_what_is_delivered(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever lies beside an image, what is logged, and what the database has of it."""
    planted = Canaries({"passphrase": canary("passphrase")})
    pair = key_pair(shop.root, "locked", planted.planted["passphrase"])
    body = pair.private.read_bytes().splitlines()[1:-1]
    signing = shop.signing(pair.private, planted.planted["passphrase"])
    signing.good_run()
    with caplog.at_level(logging.DEBUG):
        signing.deliver()
    files = [path for path in shop.root.rglob("*") if path.is_file() and path != pair.private]

    assert shop.provenance in files
    assert planted.in_tree(shop.root) == {}
    assert planted.in_text(caplog.text) == set()
    assert planted.in_database(shop.settings.database.url.get_secret_value()) == {}
    assert [path for path in files if any(line in path.read_bytes() for line in body)] == []


def test_a_key_with_its_passphrase_signs(shop: Shop) -> None:
    """As configured."""
    signing = shop.signing(key_pair(shop.root, "locked", "hunter2").private, "hunter2")
    signing.good_run()
    signing.deliver()

    assert shop.provenance.is_file()


@pytest.mark.parametrize("kind", ["nonsense", "ed448"])
def test_a_file_that_is_no_key_for_this_is_said(shop: Shop, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """Whatever it is."""
    odd = Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (shop.root / "odd.pem").write_bytes(odd if kind == "ed448" else b"nonsense")
    signing = shop.signing(shop.root / "odd.pem")
    signing.good_run()
    with caplog.at_level(logging.WARNING):
        signing.deliver()

    assert ("use Ed25519" if kind == "ed448" else "is no private key in PEM form") in caplog.text
    assert shop.row().manifest_sha256 == STALE


def test_another_file_than_the_tested_one_gets_no_manifest(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Neither does one that is gone."""
    shop.good_run()
    size = shop.image.stat().st_size
    for content in (b"short", b"x" * size):
        shop.image.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert shop.deliver() == []
    shop.image.unlink()
    with caplog.at_level(logging.WARNING):
        assert shop.deliver() == []

    assert caplog.text.count("is not the file that was tested") == 2
    assert "is not there any more" in caplog.text
    assert not shop.manifest.exists()


def test_a_name_that_leads_elsewhere_is_refused(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A stage may report any."""
    shop.good_run()
    with store.session() as session:
        session.query(Image).one().name = "../../elsewhere"
    with caplog.at_level(logging.WARNING):
        shop.deliver()

    assert "is not the name of an image's file" in caplog.text
    assert not list(shop.root.rglob("*.manifest.json"))


def test_a_run_that_goes_on_has_no_manifest_yet(shop: Shop) -> None:
    """Though all its tests have passed: nothing is said before it is true."""
    run = new_run()
    shop.play(run, *[OK] * 10)
    before = shop.deliver()
    shop.complete(run)

    assert before == []
    assert len(shop.deliver()) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_writing_that_is_killed_is_done_again(shop: Shop, when: str) -> None:
    """Before the file has its name, and after that but before the database knows: both ends are the same."""
    shop.good_run()
    path = os.pathsep.join(str(Path(__file__).parents[2] / part) for part in ("plugins", ""))
    killed = subprocess.run(
        [sys.executable, "-c", CRASH, when], env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False
    )
    there, known = shop.manifest.exists(), shop.row().has_manifest
    done = shop.deliver()

    assert killed.returncode == 9, killed.stderr
    assert (there, known) == (when == "after", False)
    assert done == [f"{IMAGE} is validated: its manifest is written"]
    assert shop.row().manifest_sha256 == hashlib.sha256(shop.manifest.read_bytes()).hexdigest()
    assert shop.manifest.stat().st_mode & 0o777 == 0o644
    assert shop.deliver() == []


def test_a_cleared_smoke_test_has_the_manifest_written_again(shop: Shop) -> None:
    """With the results of the newer try."""
    run = shop.good_run()
    shop.deliver()
    before = shop.told()
    shop.play(run, OK, first=5, try_number=2)
    shop.skip(run, PROVISION_HOSTS, "no cluster", try_number=2)
    meanwhile = shop.deliver()
    shop.complete(run)
    after = shop.deliver()

    def smoke(told: dict[str, list[dict[str, str]]]) -> str:
        return next(one["started_at"] for one in told["results"] if one["stage"] == "smoke_test")

    assert meanwhile == []
    assert len(after) == 1
    assert smoke(shop.told()) > smoke(before)


def test_a_cleared_test_that_fails_takes_the_manifest_back(signed: Shop) -> None:
    """Provenance and all; made again it is another image, and has its own."""
    with store.session() as session:
        run = runs.get(session, "f26/1")
    signed.play(run, Status.FAILURE, first=5, try_number=2)
    signed.complete(run)
    taken_back = signed.deliver()
    left = sorted(path.name for path in signed.image.parent.iterdir())
    signed.play(run, *[OK] * 2, first=4, try_number=3, content=b"another image")
    signed.skip(run, PROVISION_HOSTS, "no cluster", try_number=3)
    signed.complete(run)
    again = signed.deliver()

    assert taken_back == [f"{IMAGE} is not validated any more: its manifest is withdrawn"]
    assert left == [IMAGE]
    assert len(again) == 1
    assert signed.told()["image"]["sha256"] == hashlib.sha256(b"another image").hexdigest()


def test_provenance_of_an_older_manifest_does_not_stay(signed: Shop) -> None:
    """The key was taken out of the settings meanwhile."""
    with store.session() as session:
        session.query(Image).one().manifest_sha256 = STALE
    unsigned = signed.signing("")
    unsigned.deliver()

    assert unsigned.manifest.is_file()
    assert not unsigned.provenance.exists()
