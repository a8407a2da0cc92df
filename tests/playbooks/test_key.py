"""What a key is made of: every part changes it, alone; nothing else does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils import ci_key
from hypothesis import given
from hypothesis import strategies as st

from tests.playbooks.stage_runs import LIMITS, module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INPUTS = {
    "request": "a" * 64,
    "source": "b" * 64,
    "commits": 3,
    "author_time": 1_767_323_045,
    "rev": "",
    "builder": "c",
}
NAMES = st.sampled_from(["hello.spec", "hello.sh", "tests/run", "tests/deep/er", "a patch", "\udcff"])
TREES = st.dictionaries(NAMES, st.tuples(st.binary(max_size=20), st.booleans()), min_size=1)


@given(st.permutations(sorted(INPUTS)))
def test_the_order_of_inputs_is_nothing(order: list[str]) -> None:
    """Whoever writes them down."""
    assert ci_key.digest_of({name: INPUTS[name] for name in order}) == ci_key.digest_of(INPUTS)


@given(st.sampled_from(sorted(INPUTS)), st.one_of(st.text(max_size=70), st.integers()))
def test_each_input_alone_changes_the_key(name: str, value: object) -> None:
    """And so does one that is left out."""
    changed = ci_key.digest_of({**INPUTS, name: value})
    left_out = ci_key.digest_of({key: one for key, one in INPUTS.items() if key != name})

    assert (changed == ci_key.digest_of(INPUTS)) == (type(value) is type(INPUTS[name]) and value == INPUTS[name])
    assert left_out not in {changed, ci_key.digest_of(INPUTS)}


def written(folder: Path, tree: dict[str, tuple[bytes, bool]], *, backwards: bool = False) -> Path:
    """Write a tree of files: contents, and whether they are programs."""
    folder.mkdir()
    for name in sorted(tree, reverse=backwards):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tree[name][0])
        path.chmod(0o755 if tree[name][1] else 0o644)
    return folder


@given(TREES, TREES)
def test_only_the_same_files_have_the_same_digest(
    tmp_path_factory: pytest.TempPathFactory,
    one: dict[str, tuple[bytes, bool]],
    other: dict[str, tuple[bytes, bool]],
) -> None:
    """Names, contents and modes; not the order or the time they were written in."""
    base = tmp_path_factory.mktemp("trees")
    first, again = written(base / "1", one), written(base / "2", one, backwards=True)
    os.utime(again / min(one), (1, 1))
    second = written(base / "3", other)

    assert ci_key.source(first) == ci_key.source(again) != ""
    assert (ci_key.source(first) == ci_key.source(second)) == (one == other)


def test_a_symlink_is_where_it_leads(tmp_path: Path) -> None:
    """And no file; what it leads to is not looked at."""
    digests = set()
    for number, target in enumerate(("a", "b")):
        folder = written(tmp_path / str(number), {"a": (b"b", False), "b": (b"b", False)})
        (folder / "link").symlink_to(target)
        digests.add(ci_key.source(folder))
    plain = {"a": (b"b", False), "b": (b"b", False), "link": (b"a", False)}

    assert len({*digests, ci_key.source(written(tmp_path / "plain", plain))}) == 3


@pytest.mark.parametrize(
    ("line", "proves"),
    [
        (f"SHA512 (a.tar) = {'0' * 128}", True),
        (f"SHA256 (a.tar) = {'0' * 64}", True),
        (f"SHA1 (a.tar) = {'0' * 40}", False),
        (f"MD5 (a.tar) = {'0' * 32}", False),
        (f"{'0' * 32}  a.tar", False),
        ("no checksum at all", False),
    ],
)
def test_sources_are_known_by_checksums_that_nobody_forges(tmp_path: Path, line: str, *, proves: bool) -> None:
    """With an MD5 two files can be made that share it: what is fetched may be the other one."""
    folder = written(tmp_path / "tree", {"sources": (f"{line}\n".encode(), False)})

    assert bool(ci_key.source(folder)) == proves


@pytest.fixture
def builder(tmp_path: Path) -> Callable[[], str]:
    """Return a function that tells the digest of a small builder's software."""
    (tmp_path / "status").write_text("Package: gcc\nVersion: 12.2\n")
    for name, text in {"local/bin/tool": "#!/bin/sh", "etc/rpm/macros.site": "%x 1", "etc/shadow": "root"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "etc" / "alternatives").mkdir()
    (tmp_path / "etc" / "alternatives" / "cc").symlink_to("/usr/bin/gcc")
    (tmp_path / "kernel").write_text("6.1")
    places = {"dpkg": tmp_path / "status", "by_hand": tmp_path / "local", "configuration": tmp_path / "etc"}
    return lambda: ci_key.software(**places, release=(tmp_path / "kernel").read_text())


def relink(path: Path) -> None:
    """Have a symlink lead elsewhere."""
    path.unlink()
    path.symlink_to("/usr/bin/clang")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("status", lambda path: path.write_text("Package: gcc\nVersion: 12.3\n")),
        ("local/bin/tool", lambda path: path.write_text("#!/bin/sh -e")),
        ("local/bin/tool", lambda path: os.utime(path, (1, 1))),
        ("local/bin/tool", lambda path: path.chmod(0o755)),
        ("local/bin/other", lambda path: path.touch()),
        ("etc/rpm/macros.site", lambda path: path.write_text("%x 2")),
        ("etc/rpm/macros.more", lambda path: path.touch()),
        ("etc/alternatives/cc", relink),
        ("kernel", lambda path: path.write_text("6.2")),
    ],
)
def test_each_thing_a_build_sees_of_its_builder_counts(
    builder: Callable[[], str], tmp_path: Path, name: str, change: Callable[[Path], object]
) -> None:
    """A package, a file that is in none, a setting, an alternative, the kernel."""
    before = builder()
    change(tmp_path / name)

    assert before != ""
    assert builder() != before


def test_what_the_sandbox_does_not_show_is_nothing(builder: Callable[[], str], tmp_path: Path) -> None:
    """Nor when it was last looked at."""
    before = builder()
    (tmp_path / "etc" / "shadow").write_text("another")
    os.utime(tmp_path / "etc" / "rpm" / "macros.site", (1, 1))

    assert builder() == before


def test_a_builder_that_does_not_show_everything_has_no_digest(
    builder: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another account alone may read: whoever runs the tests as root may read all."""

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(ci_key, "sha256", refuse)

    assert builder() == ""


def test_a_builder_that_cannot_say_what_is_installed_has_no_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No dpkg, and rpm's database is empty or rpm is not there."""
    nothing = tmp_path / "nothing"

    assert ci_key.software(dpkg=nothing, by_hand=nothing, configuration=nothing) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ci_key.software(dpkg=nothing, by_hand=nothing, configuration=nothing) == ""


def test_rpm_says_what_is_installed_by_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same version built anew is another package; the order they were installed in is nothing."""
    nothing, rpm = tmp_path / "nothing", tmp_path / "rpm"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def installed(*lines: str) -> str:
        rpm.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
        rpm.chmod(0o755)
        return str(ci_key.software(dpkg=nothing, by_hand=nothing, configuration=nothing))

    gcc, make = f"gcc-1-1.x86_64 {'a' * 64}", f"make-1-1.x86_64 {'b' * 64}"

    assert installed(gcc, make) == installed(make, gcc) != ""
    assert installed(gcc, make) != installed(gcc, make.replace("b", "c"))
    assert installed(gcc, make) == installed(gcc, make, "gpg-pubkey-1-1.(none) (none)")
    assert installed(gcc, "make-1-1.x86_64 (none)") == ""


REUSE = {"request": "a" * 64, "known": [], "rebased": True}


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that makes the key of a build with other parameters, on a builder that stays as it is."""
    monkeypatch.setattr(ci_key, "software", lambda: "c" * 64)
    source = written(tmp_path / "source", {"hello.spec": (b"Name: hello", False)})
    params = {
        "source": str(source),
        "namespace": "rpms",
        "repo": "hello",
        "rev": "1" * 40,
        "commits": 3,
        "author_time": "2026-01-02T03:04:05+00:00",
        "dist": ".fc26",
        "macros": "",
        "lookaside_url": "",
        "package_repo": str(tmp_path / "repo"),
        "package_link": None,
        "mock": None,
        "koji": None,
        "reuse": REUSE,
        "workspace": str(tmp_path / "workspace"),
        "limits": LIMITS,
    }

    def make(**other: Any) -> str:
        build = module("build_package").Build(params | other)
        assert not build.is_kept()
        if build.key:
            offered = {**build.params["reuse"], "known": ["0" * 64, build.key]}
            assert module("build_package").Build(params | other | {"reuse": offered}).is_kept()
        return str(build.key)

    return make


@pytest.mark.parametrize(
    "other",
    [
        {"commits": 4},
        {"author_time": "2026-01-02T03:04:06+00:00"},
        {"reuse": {**REUSE, "request": "b" * 64}},
        {"reuse": {**REUSE, "rebased": False}},
    ],
)
def test_what_gets_into_a_build_is_in_its_key(key: Callable[..., str], other: dict[str, Any]) -> None:
    """Its release, its SOURCE_DATE_EPOCH, all it is asked for."""
    assert key(**other) != key() != ""


def test_so_are_its_files_and_its_builder(
    key: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are then."""
    before = key()
    (tmp_path / "source" / "hello.spec").write_text("Name: hallo")
    changed = key()
    monkeypatch.setattr(ci_key, "software", lambda: "another")

    assert len({before, changed, key()}) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"rev": "2" * 40},
        {"author_time": "2026-01-02T05:04:05+02:00"},
        {"workspace": "/elsewhere"},
        {"package_repo": "/elsewhere", "package_link": "/link"},
        {"lookaside_url": "https://cache.example.org"},
        {"reuse": {**REUSE, "known": ["c" * 64]}},
    ],
)
def test_what_does_not_get_into_it_is_not(key: Callable[..., str], other: dict[str, Any]) -> None:
    """A rebased commit at the same moment, told in another zone; where things are."""
    assert key(**other) == key()


def test_a_rebased_commit_is_another_where_that_is_configured(key: Callable[..., str]) -> None:
    """Seven of its digits are in the release."""
    strictly = {**REUSE, "rebased": False}

    assert key(reuse=strictly, rev="2" * 40) != key(reuse=strictly)


def test_a_build_without_all_of_it_has_no_key(
    key: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one of a stage that was not asked to."""
    assert key(reuse=None) == ""
    monkeypatch.setattr(ci_key, "software", lambda: "")
    assert key() == ""
    monkeypatch.setattr(ci_key, "software", lambda: "c" * 64)
    (tmp_path / "source" / "sources").write_text(f"{'0' * 32}  a.tar\n")
    assert key() == ""
