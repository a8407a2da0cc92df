"""What a stage reads and writes outside its workspace: what has to travel when it is carried out on another machine.

A stage that is not here runs on the pipeline's own machine alone.
"""

from dataclasses import dataclass
from typing import Final

from ci_pipeline.stages import BUILD_PACKAGE, FUNCTIONAL_TESTS


@dataclass(frozen=True, slots=True)
class Transfer:
    """What travels, by keys of the request (docs/stage-contract.md).

    Attributes:
        reads: folders that are brought to the builder before the playbook runs; one that is not there stays away.
        writes: folders that are brought back when it has run, whole, in the place of what was there.
        links: symlinks that are moved to what was brought back, if the branch moves on with the run: `(link, target)`.
        machines: how many virtual machines the stage boots at once.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    machines: int = 0


TRANSFERS: Final[dict[str, Transfer]] = {
    BUILD_PACKAGE.name: Transfer(writes=("package_repo",), links=(("package_link", "package_repo"),)),
    FUNCTIONAL_TESTS.name: Transfer(reads=("package_repo",)),
}
