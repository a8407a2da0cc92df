"""What a stage reads and writes outside its workspace: what has to travel when it is carried out on another machine.

A stage that is not here runs on the pipeline's own machine alone.
"""

from dataclasses import dataclass
from typing import Final

from ci_pipeline.stages import BUILD_PACKAGE, FUNCTIONAL_TESTS, GENERATE_IMAGE, SMOKE_TEST


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink that is moved to what a stage wrote or tested, if the branch moves on with the run.

    `key` is its path in the request, or with `name` the folder it is in; it leads to `target` of the request, or to the
    file in that folder that is called what `target` of the request says.
    """

    key: str
    target: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What travels, by keys of the request (docs/stage-contract.md). What is not there when it should go stays away.

    Attributes:
        reads: folders that are brought to the builder, whole.
        reads_commit: `(repository, commit)`: an OSTree repository, of which no more than one commit is brought there.
        reads_file: `(folder, name)`: a file of a folder that has others, too.
        writes: folders that are brought back, whole, in the place of what was there.
        writes_file: `(folder, name)`: a file that is brought back; its name is a format, filled in from the request.
        about_it: how names go on that tell of such a file: of one that it takes the place of they are removed.
        links: what leads to it.
        machines: how many virtual machines the stage boots at once.
    """

    reads: tuple[str, ...] = ()
    reads_commit: tuple[str, str] | None = None
    reads_file: tuple[str, str] | None = None
    writes: tuple[str, ...] = ()
    writes_file: tuple[str, str] | None = None
    about_it: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    machines: int = 0


TRANSFERS: Final[dict[str, Transfer]] = {
    BUILD_PACKAGE.name: Transfer(writes=("package_repo",), links=(Link("package_link", "package_repo"),)),
    FUNCTIONAL_TESTS.name: Transfer(reads=("package_repo",)),
    GENERATE_IMAGE.name: Transfer(
        reads_commit=("ostree_repo", "compose_rev"),
        writes_file=("image_dir", "fedora-atomic-{version}-{compose_rev:.15}.qcow2"),
        about_it=(".intoto.jsonl", ".manifest.json"),
    ),
    SMOKE_TEST.name: Transfer(
        reads_file=("image_dir", "image_name"),
        links=(Link("image_dir", "image_name", "latest.qcow2"),),
        machines=1,
    ),
}
