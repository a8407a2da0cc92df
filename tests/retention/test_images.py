"""Images: the newest that booted stay, and what somebody needs."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ci_pipeline import store
from ci_pipeline.store import images
from ci_pipeline.store.tables import Image, Run
from tests.makers import OUTPUTS, new_run
from tests.retention.conftest import SIZE, Place, add_image, age, old_run, write

pytestmark = pytest.mark.usefixtures("database")


def image(place: Place, run: Run, name: str, booted_days_ago: float | None) -> str:
    """Store an image and write its file."""
    write(place.images / name)
    add_image(run, name, booted_days_ago=booted_days_ago)
    return name


def kept_rows() -> set[str]:
    """Return the names of the images that the database says are kept."""
    with store.session() as session:
        return {row.name for row in images.listed(session) if row.removed_at is None}


def files(place: Place) -> set[str]:
    """Return the names of what is in the folder of images."""
    return {path.name for path in place.images.iterdir()}


def test_the_newest_that_booted_stay(place: Place) -> None:
    """Those that never booted go, and the rows say so. Of a young run all stay."""
    run = old_run()
    names = [image(place, run, f"good-{days}.qcow2", days) for days in (40, 30, 20)]
    image(place, run, "bad.qcow2", None)
    young = image(place, new_run(rev="1" * 40), "young.qcow2", None)
    gone = place.keeping(images=2).gone()

    assert gone == ["image bad.qcow2", "image good-40.qcow2"]
    assert files(place) == kept_rows() == {*names[1:], young}
    assert place.keeping(images=2).gone() == []


def test_latest_stays_however_old(place: Place) -> None:
    """What everybody downloads."""
    run = old_run()
    names = [image(place, run, f"good-{days}.qcow2", days) for days in (40, 30, 20)]
    (place.images / "latest.qcow2").symlink_to(names[0])
    place.keeping(images=1).gone()

    assert files(place) == {names[0], names[2], "latest.qcow2"}
    assert (place.images / "latest.qcow2").stat().st_size == SIZE


def test_a_file_that_a_younger_run_names_too_stays(place: Place) -> None:
    """Two rows, one file: it is needed as long as one of them needs it."""
    image(place, old_run(), "same.qcow2", None)
    add_image(new_run(rev="1" * 40), "same.qcow2", booted_days_ago=None)

    assert place.gone() == []
    assert files(place) == kept_rows() == {"same.qcow2"}


def test_a_file_that_is_not_ours_stays(place: Place, outside: Path) -> None:
    """Only the database's names count, and no symlink is followed."""
    run = old_run()
    for days in (20, 30):
        image(place, run, f"good-{days}.qcow2", days)
    (place.images / "bad.qcow2").symlink_to(outside / "precious")
    add_image(run, "bad.qcow2", booted_days_ago=None)
    add_image(run, "../../../../outside/precious", booted_days_ago=None)
    for name in ("fedora-atomic-26.1.qcow2", "notes", ".fedora-atomic-26.1.qcow2.txt"):
        age(write(place.images / name), days=90)
    age(write(place.images / ".fedora-atomic-26.1-9a4e37c459e67c7.qcow2.4711"), days=2)
    write(place.images / ".fedora-atomic-26.2-9a4e37c459e67c7.qcow2.4712")
    done = place.prune()

    assert (outside / "precious").stat().st_size == SIZE
    assert files(place) == {
        "good-20.qcow2",
        "good-30.qcow2",
        "fedora-atomic-26.1.qcow2",
        "notes",
        ".fedora-atomic-26.1.qcow2.txt",
        ".fedora-atomic-26.2-9a4e37c459e67c7.qcow2.4712",
    }
    assert done.warnings == ()


def test_an_image_whose_file_is_gone_already_is_written_down(place: Place) -> None:
    """Somebody removed it by hand."""
    run = old_run()
    place.images.mkdir(parents=True)
    add_image(run, "bad.qcow2", booted_days_ago=None)

    assert place.gone() == []
    assert kept_rows() == set()


def test_what_tells_of_an_image_goes_before_it(place: Place) -> None:
    """A dry run shows it; what tells of an image that stays, stays."""
    run = old_run()
    stays, goes = image(place, run, "good.qcow2", 1), image(place, run, "bad.qcow2", None)
    for name in (stays, goes):
        for suffix in (".manifest.json", ".intoto.jsonl"):
            write(place.images / f"{name}{suffix}", 100)
    told = [(one.kind, Path(one.what).name) for one in place.prune(dry_run=True).removed]
    place.gone()

    assert told == [("manifest", f"{goes}.intoto.jsonl"), ("manifest", f"{goes}.manifest.json"), ("image", goes)]
    assert files(place) == {stays, f"{stays}.manifest.json", f"{stays}.intoto.jsonl"}


def test_a_manifest_that_cannot_go_keeps_its_image(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next pass tries again: nothing is left that tells of an image nobody has."""
    name = image(place, old_run(), "bad.qcow2", None)
    write(place.images / f"{name}.manifest.json", 100)
    monkeypatch.setenv("PATH", "/nonexistent")
    done = place.prune()

    assert done.warnings
    assert kept_rows() == {name}
    assert files(place) == {name, f"{name}.manifest.json"}


def test_a_manifest_that_was_cut_short_is_a_leftover(place: Place) -> None:
    """After a day."""
    image(place, old_run(), "good.qcow2", 1)
    for what in ("manifest.json", "intoto.jsonl"):
        age(write(place.images / f".fedora-atomic-26.1-9a4e37c459e67c7.qcow2.{what}.4711"), days=2)
    place.gone()

    assert files(place) == {"good.qcow2"}


def test_a_dry_run_changes_neither_file_nor_row(place: Place) -> None:
    """It only tells."""
    name = image(place, old_run(), "bad.qcow2", None)
    told = place.prune(dry_run=True)

    assert [(one.kind, Path(one.what).name) for one in told.removed] == [("image", name)]
    assert told.bytes >= SIZE
    assert files(place) == kept_rows() == {name}


def test_an_image_that_is_made_again_is_kept_again(place: Place) -> None:
    """Its row is the same one."""
    run = old_run()
    image(place, run, OUTPUTS["generate_image"]["image_name"], None)
    place.gone()
    with store.session() as session:
        outputs = {**OUTPUTS["compose_ostree"], **OUTPUTS["generate_image"]}
        images.record(session, run=run.id, branch="f26", outputs=outputs)

    assert kept_rows() == {OUTPUTS["generate_image"]["image_name"]}


@examples(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    days=st.floats(0.001, 36500),
    count=st.integers(1, 9),
    booted=st.lists(st.one_of(st.none(), st.floats(0, 400)), min_size=4, max_size=4),
    latest=st.integers(0, 3),
)
def test_whatever_the_settings_a_good_image_and_latest_stay(
    place: Place, days: float, count: int, booted: list[float | None], latest: int
) -> None:
    """There is always one to boot, if there ever was."""
    with store.session() as session:
        session.query(Image).delete()
    run = old_run()
    (place.images / "latest.qcow2").unlink(missing_ok=True)
    names = [image(place, run, f"{number}.qcow2", ago) for number, ago in enumerate(booted)]
    (place.images / "latest.qcow2").symlink_to(names[latest])
    place.keeping(run_days=days, images=count).gone()
    good = [(ago, name) for ago, name in zip(booted, names, strict=True) if ago is not None]

    assert (place.images / "latest.qcow2").is_file()
    if good:
        youngest = min(ago for ago, _ in good)
        assert any(name in files(place) for ago, name in good if ago == youngest)
