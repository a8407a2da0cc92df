"""An attack: what a packager commits, and how the stage has to end. A table of them is carried out row by row."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.hostile.builder import Builder
    from tests.playbooks.stage_runs import DistGit


@dataclass(frozen=True)
class Attack:
    """A hostile package, and its end: by default a FAILURE of the package.

    Attributes:
        says: a regular expression for the whole reason; the commit's id stands in it as `REV`.
        files: what is committed. Here as in `says`, the names of the builder's places in braces stand for them.
        commit: makes the commit where files are not enough; they are committed before.
        request: keys of the request that differ.
    """

    says: str
    files: Mapping[str, str] = field(default_factory=dict)
    commit: Callable[[DistGit], str] | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    status: str = "FAILURE"
    fault: str = "package"

    def carry_out(self, builder: Builder) -> str:
        """Build the package; return what came of it if that is not what had to."""
        git = builder.dist_git()
        rev = git.commit({name: builder.filled(text) for name, text in self.files.items()})
        rev = self.commit(git) if self.commit else rev
        status, fault, reason = builder.build(git, rev, **self.request).told
        as_wanted = (status, fault) == (self.status, self.fault) and re.fullmatch(builder.filled(self.says), reason)
        return "" if as_wanted else f"{status} {fault}: {reason}"


def unlike(builder: Builder, attacks: Mapping[str, Attack]) -> dict[str, str]:
    """Carry the attacks out; return how those ended that did not end as they had to."""
    ended = {name: attack.carry_out(builder) for name, attack in attacks.items()}
    return {name: told for name, told in ended.items() if told}
