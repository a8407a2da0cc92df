"""A change is validated once, at the edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline.change import Change, canonical_branch, run_id_of
from ci_pipeline.errors import ChangeError
from tests.makers import REV, change


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repo", "../../etc"),
        ("repo", "-rf"),
        ("repo", ".hidden"),
        ("repo", "a/b"),
        ("repo", "a b"),
        ("repo", "a\n"),
        ("repo", "$(id)"),
        ("repo", "a..b"),
        ("repo", "x" * 101),
        ("repo", ""),
        ("repo", 7),
        ("namespace", "rpms/../x"),
        ("namespace", "/rpms"),
        ("rev", "HEAD"),
        ("rev", REV[:7]),
        ("rev", REV.upper()),
        ("rev", REV + "\n"),
        ("branch", "--upload-pack=x"),
        ("branch", "a..b"),
        ("branch", None),
    ],
)
def test_hostile_fields_are_refused_by_name(field: str, value: object) -> None:
    """A field that could reach a path, a shell or an option is refused, and the sentence names it."""
    fields = {"namespace": "rpms", "repo": "mesa", "rev": REV, "branch": "f26", field: value}

    with pytest.raises(ChangeError, match=f"the change's {field} is not valid"):
        Change.parse(**fields)


def test_a_missing_field_is_named() -> None:
    """What is not there is said."""
    with pytest.raises(ChangeError, match="the change has no rev"):
        Change.parse(namespace="rpms", repo="mesa", branch="f26")


@pytest.mark.parametrize("repo", ["gtk+", "libstdc++", "python3.12", "xorg-x11-drv-ati", "0ad", "_x"])
def test_real_package_names_are_taken(repo: str) -> None:
    """Names that dist-git has are fine."""
    assert change(repo).repo == repo


@pytest.mark.parametrize("name", ["master", "main", "rawhide"])
def test_rawhide_has_one_name(name: str) -> None:
    """However the git branch is called, the pipeline calls it rawhide."""
    assert canonical_branch(name) == "rawhide"
    assert change(branch=name) == change(branch="rawhide")


def test_a_change_reads_as_packagers_say_it() -> None:
    """Short enough for a list."""
    assert str(change("mesa")) == "rpms/mesa 35fdde9 f26"


def test_the_run_id_names_the_change() -> None:
    """An operator sees what a run is of, and Airflow takes the id."""
    assert run_id_of(change("mesa"), 464) == "rpms.mesa-35fdde9-f26-464"


@given(
    namespace=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,20}(/[a-z]{1,9})?", fullmatch=True),
    repo=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,40}", fullmatch=True),
    branch=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,20}", fullmatch=True),
)
def test_every_valid_change_has_a_valid_run_id(namespace: str, repo: str, branch: str) -> None:
    """Airflow refuses run ids with other characters; no change may be lost to that."""
    if ".." in namespace + " " + repo + " " + branch:
        return
    made = run_id_of(change(repo, namespace=namespace, branch=branch), 1)

    assert set(made) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.~:+-")


def test_a_partition_key_names_a_change_of_its_branch() -> None:
    """There and back."""
    key = change("mesa").partition_key

    assert key == f"rpms/mesa@{REV}"
    assert Change.of_partition(key, branch="f26") == change("mesa")


@pytest.mark.parametrize("key", [REV, f"mesa@{REV}", f"rpms/mesa@{REV}\n", f"rpms/../x@{REV}", f"/mesa@{REV}", "@/"])
def test_a_key_that_names_none_is_refused(key: str) -> None:
    """Anyone may send any."""
    with pytest.raises(ChangeError):
        Change.of_partition(key, branch="f26")
