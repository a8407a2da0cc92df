"""The section [[policies]] of pipeline.toml: what must have passed before something downstream may happen."""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from ci_pipeline.sections import Section
from ci_pipeline.stages import COMPLETE, STEPS

SubjectType = Literal["koji_build", "compose", "image"]

KOJI_BUILD: Final = "koji_build"
# What of a run is about a subject: all of it is about the package; a compose is not built, an image not composed.
_BEGINS_WITH: Final = {KOJI_BUILD: "", "compose": "compose", "image": "image"}

_Glob = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+*?\[\]!-]{1,100}$")]
_Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]


def _is_testcase(value: str) -> str:
    known = (*STEPS, COMPLETE)
    if value not in known:
        msg = f"there is no testcase {value!r}; one of: {', '.join(known)}"
        raise ValueError(msg)
    return value


class Policy(Section):
    """One policy: for whom it is, and what must have passed."""

    id: _Label = Field(description="its name in decisions")
    product_versions: list[_Glob] = Field(min_length=1, description="globs of products: fedora-26 is branch f26")
    decision_contexts: list[_Label] = Field(min_length=1, description="the gates it is for, as those who ask name them")
    subject_type: SubjectType = Field(KOJI_BUILD, description="what is decided about: a package, a compose or an image")
    packages: list[_Glob] = Field(["*"], min_length=1, description="globs of the packages it is for")
    only_gating: bool = Field(default=True, description="for packages that are gating alone (package.NAME.gating)")
    tests: list[Annotated[str, AfterValidator(_is_testcase)]] = Field(min_length=1, description="what must have passed")

    @model_validator(mode="after")
    def _fits_its_subject(self) -> Self:
        """Refuse what could never be satisfied, and what would have no effect.

        Raises:
            ValueError: a test is about something else, or packages are named for what is no package.
        """
        begins = _BEGINS_WITH[self.subject_type]
        foreign = [test for test in self.tests if test != COMPLETE and not test.startswith(begins)]
        if foreign:
            msg = f"{', '.join(foreign)}: not about subject_type {self.subject_type}; its tests begin with {begins}"
            raise ValueError(msg)
        if self.subject_type != KOJI_BUILD and self.model_fields_set & {"packages", "only_gating"}:
            msg = f"packages and only_gating are for subject_type {KOJI_BUILD} alone"
            raise ValueError(msg)
        return self


def _have_names_of_their_own(policies: list[Policy]) -> list[Policy]:
    names = [policy.id for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"two policies are called {twice[0]}; give each an id of its own"
        raise ValueError(msg)
    return policies


Policies = Annotated[list[Policy], AfterValidator(_have_names_of_their_own)]
