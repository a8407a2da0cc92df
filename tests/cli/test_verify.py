"""`verify` says what is wrong with an image, and `images` which are validated."""

import json
from pathlib import Path

import pytest

from ci_pipeline import settings
from tests.cli.conftest import Cli
from tests.manifests.conftest import IMAGE, KeyPair, Shop, pair, shop, signed

__all__ = ["pair", "shop", "signed"]


def test_what_is_wrong_is_said_and_ends_with_1(cli: Cli, signed: Shop, pair: KeyPair) -> None:
    """A sentence each; with --json for programs."""
    signed.image.write_bytes(b"another")
    by_name, by_path = cli("verify", IMAGE), cli("verify", str(signed.image), "--key", str(pair.public))
    data = cli("verify", str(signed.image), "--json")

    assert (by_name.exit_code, by_path.exit_code, data.exit_code) == (1, 1, 1)
    assert "is not the file the database knows" in by_name.stderr
    assert "is not the image its manifest tells of" in by_path.stderr
    assert json.loads(data.stdout)["problems"]


def test_what_is_no_image_is_said(cli: Cli, signed: Shop) -> None:
    """Neither a name nor a path."""
    no_name, no_path = cli("verify", "no.qcow2"), cli("verify", "/nonexistent/no.qcow2")
    no_key = cli("verify", IMAGE, "--key", "/nonexistent/key")

    assert (no_name.exit_code, no_path.exit_code, no_key.exit_code) == (1, 1, 1)
    assert no_name.stderr == "no image no.qcow2; `ci-pipeline images` lists them\n"
    assert "no.qcow2 is not there" in no_path.stderr
    assert no_key.stderr == "the public key /nonexistent/key cannot be read: No such file or directory\n"


def test_all_is_well(cli: Cli, signed: Shop, pair: KeyPair) -> None:
    """What was looked at is said."""
    result = cli("verify", IMAGE, "--key", str(pair.public))
    data = json.loads(cli("verify", IMAGE, "--key", str(pair.public), "--json").stdout)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"{IMAGE}: all is well: image, manifest, ")
    assert result.stdout.endswith("other files, signature\n")
    assert (data["image"], data["problems"], data["signed"]) == (str(signed.image), [], True)


def test_a_downloaded_image_needs_no_pipeline(
    cli: Cli, signed: Shop, pair: KeyPair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither settings nor a database."""
    monkeypatch.setenv("CI_PIPELINE_CONFIG", str(tmp_path / "nothing.toml"))
    settings.current.cache_clear()

    assert cli("verify", str(signed.image), "--key", str(pair.public)).exit_code == 0


def test_images_show_what_is_validated_and_its_manifest(cli: Cli, shop: Shop) -> None:
    """As soon as it is written."""
    shop.good_run()
    before = json.loads(cli("images", "--json").stdout)[0]
    shop.deliver()
    (after,) = json.loads(cli("images", "--json").stdout)

    assert (bool(before["validated_at"]), before["manifest_url"]) == (True, "")
    assert after["manifest_url"] == f"{after['url']}.manifest.json"
    assert after["manifest_url"] in cli("images").stdout
