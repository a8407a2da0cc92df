"""Bus: what arrived and what was decided, what waits for its turn or to go out, and what needs a human."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from ci_pipeline import dead_letters, settings, store
from ci_pipeline.insight import bus_state, storm_state
from ci_pipeline.store import deliveries
from ci_pipeline.ui.access import SignedIn, acting
from ci_pipeline.ui.links import Links
from ci_pipeline.ui.rendering import answer

router = APIRouter()

State = Literal["", "queued", "ignored", "duplicate", "superseded", "dead"]
_MOST_LETTERS = 20
_LARGEST_NUMBER = 2**63 - 1


@router.get("/bus")
def bus(
    request: Request,
    viewer: SignedIn,
    *,
    state: State = "",
    package: Annotated[str, Query(max_length=120)] = "",
    before: Annotated[int, Query(ge=0, le=_LARGEST_NUMBER)] = 0,
) -> Response:
    """Show a page of the ledger, the storm lane, the outbox, the sinks and the dead letters."""
    wanted = bus_state.Wanted(state, package.strip(), before)
    with store.session() as session:
        letters = dead_letters.listed(session, limit=_MOST_LETTERS)
        ledger = bus_state.ledger(session, wanted)
        waiting, count = bus_state.waiting(session, settings.current())
        storm = storm_state.read(session)
        sinks = deliveries.states(session, [sink.name for sink in settings.current().sinks])
    return answer(
        request,
        "bus.html",
        wanted=wanted,
        ledger=ledger,
        states=bus_state.STATES,
        waiting=waiting,
        waiting_count=count,
        letters=letters,
        sinks=sinks,
        storm=storm,
        may_act=viewer.may_act,
    )


@router.post("/bus/dead/{letter}/replay", dependencies=[Depends(acting)])
def replay(request: Request, letter: Annotated[str, Path(max_length=80)]) -> Response:
    """Try a dead letter or a parked message again, and say what came of it."""
    told = dead_letters.replay(settings.current(), letter)
    if "text/html" not in request.headers.get("accept", ""):
        return Response(told + "\n", media_type="text/plain; charset=utf-8")
    return answer(request, "done.html", title="Replayed", sentence=f"{told}.", back=Links.of(request).page("bus"))
