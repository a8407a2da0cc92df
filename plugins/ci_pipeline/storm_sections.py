"""The section [storm] of pipeline.toml: very many changes in a short time, and how they drain."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from ci_pipeline.sections import Section

# As messages name who pushed.
Account = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Storm(Section):
    """When the changes of an account are a storm, and how many of them run at once."""

    changes: int = Field(
        10,
        ge=0,
        description="so many changes of an account within window_minutes run at once, further ones wait; 0: all do",
    )
    window_minutes: float = Field(30, gt=0, le=10080, description="the time in which they are counted")
    at_once: int = Field(4, ge=1, description="runs of storms that go on at a time, of all branches together")
    per_hour: int = Field(0, ge=0, description="runs of storms that begin within an hour at most; 0: no limit")
    always: list[Account] = Field([], description="accounts whose changes wait for their turn, however few they are")
    never: list[Account] = Field([], description="accounts whose changes never do, however many they are")

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Self:
        if both := sorted({*self.always} & {*self.never}):
            msg = f"always and never both name {', '.join(both)}; take each out of one of them"
            raise ValueError(msg)
        return self
