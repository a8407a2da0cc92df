"""The folder that things are removed from."""

from pathlib import Path

import pytest

from ci_pipeline.errors import RetentionError
from ci_pipeline.retention.folder import Folder
from tests.retention.conftest import write


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Whether it is what goes or on the way to it."""
    write(tmp_path / "inner" / "x")
    for act in (Folder(tmp_path, ("inner",)).remove, Folder(tmp_path, ("inner",)).size_of):
        with pytest.raises(RetentionError, match="is not the name of a file"):
            act(name)
    with pytest.raises(RetentionError, match="is not the name of a file"):
        Folder(tmp_path).inside("inner", name).entries()

    assert (tmp_path / "inner" / "x").is_file()


def test_a_name_that_looks_like_an_option_is_a_name(tmp_path: Path) -> None:
    """Nothing else is removed."""
    for name in ("-rf", "--help", "x"):
        write(tmp_path / name)
    freed = [Folder(tmp_path).remove(name) for name in ("-rf", "--help")]

    assert all(freed)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_is_not_there_takes_no_room(tmp_path: Path) -> None:
    """Somebody else has removed it."""
    assert Folder(tmp_path).remove("x") == Folder(tmp_path).size_of("x") == 0
    assert Folder(tmp_path / "missing").entries() == []


def test_a_folder_that_is_set_may_be_a_symlink(tmp_path: Path) -> None:
    """To another disk; only what is below it is never followed."""
    write(tmp_path / "disk" / "x")
    (tmp_path / "set").symlink_to(tmp_path / "disk")

    assert [entry.name for entry in Folder(tmp_path / "set").entries()] == ["x"]
    with pytest.raises(RetentionError, match=r"set on the way to .* is a symlink"):
        Folder(tmp_path, ("set",)).entries()
