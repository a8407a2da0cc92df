"""The API: decisions as Greenwave makes them, waivers as WaiverDB keeps them.

`router` is included by the datahub's application, which lets pass who may read; to waive takes the permission to act.
"""

from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query, Request, status
from pydantic import BaseModel

from ci_pipeline import settings, store
from ci_pipeline.errors import NoPolicyError, WaiverError
from ci_pipeline.gating import deciding, policies, waivers
from ci_pipeline.gating.asked import AskedDecision, AskedWaiver, AskedWaivers, body_of, read
from ci_pipeline.gating.deciding import Answer
from ci_pipeline.gating.decision import Found, Outcome
from ci_pipeline.gating_sections import Policy
from ci_pipeline.ui.access import SignedIn, acting

router = APIRouter(prefix="/api/v1.0", tags=["gating"])

Body = Annotated[bytes, Depends(body_of)]

_AS_RESULTSDB_SAYS = {
    Outcome.PASSED: "PASSED",
    Outcome.FAILED: "FAILED",
    Outcome.ERRORED: "ERROR",
    Outcome.INCOMPLETE: "RUNNING",
}


def _of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a body, which is read by us: not more of it than may be long."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.post("/decision", openapi_extra=_of(AskedDecision))
def decision(body: Body) -> dict[str, Any]:
    """Decide. 404: no policy is for it; 400: it cannot be understood."""
    asked = read(AskedDecision, body)
    configured = settings.current()
    with store.session() as session:
        try:
            answer = deciding.answer(session, configured, asked.question)
        except NoPolicyError as error:
            raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
        told = answer.decision.model_dump(mode="json")
        if asked.verbose:
            told |= {"results": list(_results(answer)), "waivers": _waivers(session, asked, answer)}
    return told


@router.get("/policies")
def list_policies() -> dict[str, Any]:
    """Return the policies there are."""
    configured = settings.current()
    return {"policies": [_policy(policy, configured) for policy in configured.policies]}


@router.post(
    "/waivers/", status_code=status.HTTP_201_CREATED, dependencies=[Depends(acting)], openapi_extra=_of(AskedWaiver)
)
def waive(body: Body, viewer: SignedIn) -> dict[str, Any]:
    """Waive, or take a waiver back (`waived` false), in the name of who is signed in."""
    asked = read(AskedWaiver, body)
    try:
        with store.session() as session:
            given = waivers.add(session, settings.current(), asked.wish, who=viewer.name)
    except WaiverError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from error
    return given.model_dump(mode="json")


@router.get("/waivers/")
def list_waivers(request: Request, asked: Annotated[AskedWaivers, Query()]) -> dict[str, Any]:
    """Return a page of waivers, the newest first."""
    with store.session() as session:
        found, count = waivers.page(session, asked.filter, limit=asked.limit, skip=(asked.page - 1) * asked.limit)
    return {"data": [one.model_dump(mode="json") for one in found], **_pages(request, asked, count)}


def _pages(request: Request, asked: AskedWaivers, count: int) -> dict[str, str | None]:
    """Return the addresses of the pages around one, as WaiverDB names them."""
    last = max(-(-count // asked.limit), 1)

    def address(page: int) -> str | None:
        query = urlencode({**request.query_params, "page": page, "limit": asked.limit})
        return f"{request.url.path}?{query}" if 1 <= page <= last else None

    return {
        "first": address(1),
        "prev": address(asked.page - 1),
        "next": address(asked.page + 1),
        "last": address(last),
    }


def _results(answer: Answer) -> Iterable[dict[str, Any]]:
    for known in answer.known:
        item = {"type": [known.subject.type], "item": [known.subject.identifier]}
        for testcase, one in known.found.items():
            yield _result(testcase, one, item)


def _result(testcase: str, one: Found, item: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "id": one.result_id,
        "testcase": {"name": testcase},
        "outcome": _AS_RESULTSDB_SAYS[one.outcome],
        "note": one.note,
        "data": item,
    }


def _waivers(session: Any, asked: AskedDecision, answer: Answer) -> list[dict[str, Any]]:
    names = [(known.subject.type, name) for known in answer.known for name in known.names]
    return [one.model_dump(mode="json") for one in waivers.standing(session, names, asked.product_version)]


def _policy(policy: Policy, configured: settings.Settings) -> dict[str, Any]:
    rules = [
        {"type": "PassingTestCaseRule", "test_case_name": policies.testcase_of(test, configured)}
        for test in policy.tests
    ]
    return {**policy.model_dump(exclude={"tests"}), "rules": rules}
