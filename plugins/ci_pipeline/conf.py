"""What a run is asked for: the conf of a run that is triggered by hand, and the change it names.

The DAGs' trigger form and `ci-pipeline trigger` fill it in. Airflow checks the fields it knows, and lets others pass: a
conf is read here as a message is, as something hostile.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from ci_pipeline import wording
from ci_pipeline.bus import inbound
from ci_pipeline.change import Name, Namespace
from ci_pipeline.errors import ChangeError
from ci_pipeline.revisions import Named, Revision
from ci_pipeline.rules import GenerateImage
from ci_pipeline.settings import Settings
from ci_pipeline.store.runs import NO_TEST_GUIDANCE, dag_id_of

AS_CONFIGURED: Final = "as configured"
Gating = Literal["as configured", "gating", "opt-in"]
Conformance = Literal["as configured", "always", "with-image", "never"]
Reuse = Literal["as configured", "never"]
TEST_GUIDANCE: Final = r"^[^\x00-\x1f\x7f]*$"
_NAMESPACE: Final = "rpms"


def default_namespace(settings: Settings) -> str:
    """Return the namespace of a conf that names none."""
    return next(iter(settings.packages.namespaces), _NAMESPACE)


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


class Conf(BaseModel):
    """The conf of a run. docs/operating.md has a table of the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: Annotated[Namespace | None, BeforeValidator(_none_if_empty)] = None
    repo: Annotated[Name | None, BeforeValidator(_none_if_empty)] = None
    rev: Annotated[Revision | None, BeforeValidator(_none_if_empty)] = None
    message: Annotated[str | dict[str, Any] | None, BeforeValidator(_none_if_empty)] = None
    test_guidance: Annotated[str, StringConstraints(max_length=500, pattern=TEST_GUIDANCE)] = NO_TEST_GUIDANCE
    generate_image: GenerateImage = "when-due"
    gating: Gating = AS_CONFIGURED
    conformance: Conformance = AS_CONFIGURED
    reuse: Reuse = AS_CONFIGURED

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Read a conf.

        Raises:
            ChangeError: a key is unknown or a value wrong; the text names it and what is allowed.
        """
        if unknown := sorted(set(fields) - set(cls.model_fields)):
            allowed = ", ".join(sorted(cls.model_fields))
            told = wording.one_line(", ".join(map(str, unknown))[:200])
            raise ChangeError(f"unknown keys in conf: {told}; allowed: {allowed}")
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise ChangeError(f"the conf's {problem['loc'][0]} is not valid: {problem['msg']}") from error

    @property
    def options(self) -> dict[str, str]:
        """What is asked for besides the change and its test guidance, without what goes without saying."""
        asked = {key: str(getattr(self, key)) for key in ("generate_image", "gating", "conformance", "reuse")}
        return {key: value for key, value in asked.items() if value != type(self).model_fields[key].default}

    def named(self, settings: Settings, *, branch: str) -> Named:
        """Return the revision it names, of its own fields or of the message pasted into it.

        Raises:
            ChangeError: it names none, two, or one of another branch.
        """
        told = self._told(settings, branch)
        for key in ("namespace", "repo", "rev"):
            own, theirs = getattr(self, key), told.get(key)
            # The beginning of a revision contradicts nothing.
            if own and theirs and not (theirs.startswith(own) if key == "rev" else theirs == own):
                raise ChangeError(
                    f"{key} is {wording.one_line(own)} and the message says {theirs}: leave one of them out"
                )
        known = {key: told.get(key) or getattr(self, key) for key in ("namespace", "repo", "rev")}
        if missing := [key for key in ("repo", "rev") if not known[key]]:
            raise ChangeError(f"no {' and no '.join(missing)}: give repo and rev, or paste a message")
        return Named(known["namespace"] or default_namespace(settings), known["repo"], branch, known["rev"])

    def _told(self, settings: Settings, branch: str) -> dict[str, str]:
        """Return the change a pasted message is about, as fields; none without a message."""
        if self.message is None:
            return {}
        push = inbound.read("", _unpacked(self.message))
        if push.ignore_reason:
            raise ChangeError(f"the message names nothing to run: {push.ignore_reason}")
        if push.change.branch not in {branch, settings.dist_git_branch_of(branch)}:
            its = push.change.branch
            there = f"trigger {dag_id_of(its)} with it" if its in settings.branches else "which has no pipeline"
            raise ChangeError(f"the message is about the branch {its}, not {branch}: {there}")
        return push.change.model_dump()


def _unpacked(message: str | dict[str, Any]) -> object:
    """Return one message: as it was on the bus, or as datagrepper returns it, alone or in its list of one."""
    body = inbound.decode(message.encode(errors="replace")) if isinstance(message, str) else message
    found = body.get("raw_messages") if isinstance(body, dict) else None
    if not isinstance(found, list):
        return body
    if len(found) != 1:
        raise ChangeError(f"there are {len(found)} messages in what datagrepper returned: paste one of them")
    return found[0]
