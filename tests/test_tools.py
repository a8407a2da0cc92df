"""What a stage is told of the tools of the toolchain fedora."""

from pathlib import Path

import pytest

from ci_pipeline import settings, tools
from ci_pipeline.errors import SettingsError

BRANCHES = """
[branches.f26]
release = "26"
dist = ".fc26"
[branches.f26-aarch64]
release = "26"
dist = ".fc26"
arch = "aarch64"
dist_git_branch = "f26"
mock_config = "ours-26-aarch64"
koji_target = "f26-candidate"
[branches.rawhide]
release = "rawhide"
dist = ".rawhide"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file of three branches."""
    path = tmp_path / "pipeline.toml"
    path.write_text(BRANCHES)
    monkeypatch.setenv("CI_PIPELINE_CONFIG", str(path))
    return path


@pytest.mark.parametrize("name", ["/etc/mock/x", "x.cfg", "../x", "-r", ""])
def test_a_path_is_no_configuration_of_mock(config: Path, name: str) -> None:
    """A configuration is a program, and may come from nowhere but /etc/mock."""
    config.write_text(f'[branches.f26]\nrelease="26"\ndist=".fc26"\nmock_config="{name}"\n')

    with pytest.raises(SettingsError, match=r"branches\.f26\.mock_config"):
        settings.load()


@pytest.mark.parametrize("url", ["example.org/os", "https://user:pass@example.org/os", "https://example.org/a b"])
def test_an_address_of_a_repository_is_an_address_without_account(config: Path, url: str) -> None:
    """Requests and artifacts would show it."""
    config.write_text(f'{BRANCHES}[compose.repos.fedora]\nurl="{url}"\n')

    with pytest.raises(SettingsError, match=r"compose\.repos\.fedora\.url"):
        settings.load()


def test_mock_goes_by_release_and_architecture_unless_told(config: Path) -> None:
    """Without a profile there is no Koji."""
    known = settings.load()

    assert {name: tools.builds_with(known, name)["mock"]["config"] for name in known.branches} == {
        "f26": "fedora-26-x86_64",
        "f26-aarch64": "ours-26-aarch64",
        "rawhide": "fedora-rawhide-x86_64",
    }
    assert "koji" not in tools.builds_with(known, "f26")


def test_koji_goes_by_the_branch(config: Path) -> None:
    """Target and architecture; what is asked for has no credentials."""
    config.write_text(f'{BRANCHES}[koji]\nprofile="fedora"\n')
    known = settings.load()
    asked = {name: tools.builds_with(known, name)["koji"] for name in known.branches}

    assert [(one["target"], one["arch"]) for one in asked.values()] == [
        ("f26", "x86_64"),
        ("f26-candidate", "aarch64"),
        ("rawhide", "x86_64"),
    ]
    assert set(asked["f26"]) == {"profile", "target", "arch", "decisive", "wait_seconds"}


def test_who_makes_the_image_goes_by_the_toolchain_unless_told(config: Path) -> None:
    """The release is what image-builder calls its distribution by."""
    by_default = tools.images_with(settings.load(), "f26")
    config.write_text(f'{BRANCHES}[stages.generate_image]\ntoolchain="fedora"\n')
    of_fedora = tools.images_with(settings.load(), "f26")
    config.write_text(f'{BRANCHES}[image]\nbuilder="ostree"\n[stages.generate_image]\ntoolchain="fedora"\n')
    told = tools.images_with(settings.load(), "f26")

    assert [one["image_builder"] for one in (by_default, of_fedora, told)] == ["ostree", "image-builder", "ostree"]
    assert (of_fedora["image_distro"], of_fedora["image_type"]) == ("fedora-26", "iot-qcow2")
