"""A change: what a packager pushed, as one validated, frozen type.

A change is unique by (namespace, repo, rev); a pipeline run is a change on a branch (docs/messages.md).
"""

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from ci_pipeline.errors import ChangeError

RAWHIDE: Final = "rawhide"
# What is quoted of a wrong value at most: one terminal line.
_LINE: Final = 80
_RAWHIDE_NAMES: Final = frozenset({"master", "main", RAWHIDE})


def _no_dot_segments(value: str) -> str:
    if ".." in value:
        msg = "must not contain '..'"
        raise ValueError(msg)
    return value


# Names become path segments, refs and arguments of tools: no separators, no leading dot or dash, no '..'.
NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}$"
Name = Annotated[
    str,
    StringConstraints(pattern=NAME),
    AfterValidator(_no_dot_segments),
]
# A fork's namespace (forks/alice/rpms) is a valid name for a place that is never a package: the rules ignore it.
NAMESPACE: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*){0,3}$"
Namespace = Annotated[
    str,
    StringConstraints(pattern=NAMESPACE, max_length=120),
    AfterValidator(_no_dot_segments),
]
BranchName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,99}$"),
    AfterValidator(_no_dot_segments),
]
Rev = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


def canonical_branch(git_branch: str) -> str:
    """Return the pipeline's name of a git branch: `master`, `main` and `rawhide` are all `rawhide`."""
    return RAWHIDE if git_branch in _RAWHIDE_NAMES else git_branch


class Change(BaseModel):
    """One pushed revision of one package on one branch. Hashable; equal changes are the same pipeline run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: Namespace
    repo: Name
    rev: Rev
    branch: Annotated[BranchName, AfterValidator(canonical_branch)]

    @classmethod
    def parse(cls, **fields: object) -> Self:
        """Build a change from untrusted fields.

        Raises:
            ChangeError: a field is missing or malformed; the text names it.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ChangeError(_first_problem(error)) from error

    @classmethod
    def of_partition(cls, key: str, *, branch: str) -> Self:
        """Build a change of a branch from an untrusted partition key, `rpms/mesa@<40 hex digits>`.

        Raises:
            ChangeError: it is none; the text says what is wrong.
        """
        package, at, rev = key.rpartition("@")
        namespace, slash, repo = package.rpartition("/")
        if not (at and slash):
            msg = f"a partition key is NAMESPACE/PACKAGE@REV, which {_quoted(key)} is not"
            raise ChangeError(msg)
        return cls.parse(namespace=namespace, repo=repo, rev=rev, branch=branch)

    @property
    def partition_key(self) -> str:
        """What names the change among those of its branch: `rpms/mesa@<40 hex digits>`."""
        return f"{self.namespace}/{self.repo}@{self.rev}"

    @property
    def short_rev(self) -> str:
        """The first 7 digits, as packagers read them."""
        return self.rev[:7]

    def __str__(self) -> str:
        """`rpms/mesa 35fdde9 f26`."""
        return f"{self.namespace}/{self.repo} {self.short_rev} {self.branch}"


_UNSAFE_IN_RUN_ID: Final = re.compile(r"[^A-Za-z0-9_.~:+-]")


def run_id_of(change: Change, unique: int | str) -> str:
    """Return the Airflow run id of a change: `rpms.mesa-35fdde9-f26-464`.

    Airflow accepts only `[A-Za-z0-9_.~:+-]`, so a slash becomes a dot.

    Args:
        change: what is run.
        unique: what tells runs of one change apart: the branch's run number.
    """
    readable = f"{change.namespace}.{change.repo}-{change.short_rev}-{change.branch}-{unique}"
    return _UNSAFE_IN_RUN_ID.sub(".", readable)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=True)[0]
    field = ".".join(str(part) for part in problem["loc"]) or "change"
    if problem["type"] == "missing":
        return f"the change has no {field}"
    return f"the change's {field} is not valid: {_quoted(problem['input'])} ({problem['msg']})"


def _quoted(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _LINE else shown[: _LINE - 3] + "..."
