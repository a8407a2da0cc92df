"""What is asked of the API, read once: hostile until it is one of these."""

from typing import Annotated, Any, Final, Self, TypeVar

from fastapi import HTTPException, Request, status
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from ci_pipeline.gating.deciding import Question
from ci_pipeline.gating.decision import Subject
from ci_pipeline.gating.waivers import Filter, Wish
from ci_pipeline.gating_sections import SubjectType

T = TypeVar("T", bound=BaseModel)

MOST_SUBJECTS: Final = 100
MOST_CONTEXTS: Final = 20
LONGEST_COMMENT: Final = 1000
_SHOWN: Final = 80

# Printable ASCII without blanks: what NVRs, commits, image names and topics are made of.
_Word = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=255)]
_Comment = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_COMMENT, pattern=r"^[^\x00]*$")
]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Contexts = Annotated[list[_Word], BeforeValidator(_as_list), Field(min_length=1, max_length=MOST_CONTEXTS)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AskedSubject(_Asked):
    """One of several subjects. Greenwave's callers name types we know nothing of among them."""

    type: _Word
    item: _Word


# Its schema is written out: a description of the API has no room for one that refers to another.
_Subjects = Annotated[
    list[AskedSubject],
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"type": "string"}, "item": {"type": "string"}},
                "required": ["type", "item"],
                "additionalProperties": False,
            },
        }
    ),
]


class AskedDecision(_Asked):
    """Greenwave's request: one subject, or a list of them, which goes first."""

    product_version: _Word
    decision_context: _Contexts
    subject_type: _Word | None = None
    subject_identifier: _Word | None = None
    subject: _Subjects | None = Field(None, min_length=1, max_length=MOST_SUBJECTS)
    verbose: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _names_a_subject(self) -> Self:
        """Refuse a question about nothing.

        Raises:
            ValueError: neither form names a subject.
        """
        if not self.subject and not (self.subject_type and self.subject_identifier):
            msg = "name a subject: subject_type and subject_identifier, or subject, a list of {type, item}"
            raise ValueError(msg)
        return self

    @property
    def question(self) -> Question:
        """What is to be decided."""
        several = [Subject(one.type, one.item) for one in self.subject or ()]
        subjects = several or [Subject(self.subject_type or "", self.subject_identifier or "")]
        return Question(tuple(subjects), self.product_version, tuple(self.decision_context))


class AskedWaiver(_Asked):
    """WaiverDB's request. There is no `username`: who waives is who is signed in."""

    subject_type: SubjectType
    subject_identifier: _Word
    testcase: _Word
    product_version: _Word
    comment: _Comment
    waived: bool = True

    @property
    def wish(self) -> Wish:
        """What is to be waived."""
        return Wish(
            subject=Subject(self.subject_type, self.subject_identifier),
            product_version=self.product_version,
            testcase=self.testcase,
            why=self.comment,
            waived=self.waived,
        )


class AskedWaivers(_Asked):
    """WaiverDB's parameters of a list: a filter, and which page of it."""

    subject_type: _Word | None = None
    subject_identifier: _Word | None = None
    product_version: _Word | None = None
    testcase: _Word | None = None
    username: Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")] | None = None
    include_obsolete: bool = False
    page: int = Field(1, ge=1, le=1_000_000)
    limit: int = Field(10, ge=1, le=100)

    @property
    def filter(self) -> Filter:
        """Which waivers are wanted."""
        return Filter(
            subject_type=self.subject_type,
            subject_identifier=self.subject_identifier,
            product_version=self.product_version,
            testcase=self.testcase,
            username=self.username,
            obsolete=self.include_obsolete,
        )


async def body_of(request: Request) -> bytes:
    """Return the body of a request; `ui/bounds.py` has refused what is too long."""
    return await request.body()


def read(model: type[T], told: bytes | dict[str, str]) -> T:
    """Read a JSON body, or the fields of a form.

    Raises:
        HTTPException: 400, with a sentence for everything that is wrong.
    """
    try:
        return model.model_validate_json(told) if isinstance(told, bytes) else model.model_validate(told)
    except ValidationError as error:
        raise _refused("; ".join(_explain(problem) for problem in error.errors(include_url=False))) from error


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])[:_SHOWN]
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])


def _refused(sentence: str) -> HTTPException:
    return HTTPException(status.HTTP_400_BAD_REQUEST, sentence)
