"""Airflow's login and permissions for the pages. Heavy to import: only the api-server needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user, requires_access_dag
from airflow.models.dag import DagModel
from fastapi import HTTPException, status
from starlette.concurrency import run_in_threadpool

from ci_pipeline import settings
from ci_pipeline.decisions import TRIGGER_NAME
from ci_pipeline.store.runs import dag_id_of
from ci_pipeline.ui.access import Viewer

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from fastapi import Request

may_read_logs = requires_access_dag("GET", DagAccessEntity.TASK_LOGS)


async def find_viewer(request: Request) -> Viewer:
    """Return who asks, if they may read every DAG of the pipeline; the pages show all of them together.

    Raises:
        HTTPException: 401, nobody is signed in; 403, a DAG is kept from them.
    """
    user = await _user(request)
    reads, acts = await run_in_threadpool(_permissions, user)
    if not reads:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "These pages need the permission to read the pipeline's DAGs.")
    return Viewer(name=user.get_name(), may_act=acts)


async def _user(request: Request) -> BaseUser:
    try:
        return await get_user(request, None, await bearer_scheme(request))
    except HTTPException as error:
        # Airflow answers 403 to a token it did not sign. For a browser that is one more session that is over.
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, error.detail) from error


def _permissions(user: BaseUser) -> tuple[bool, bool]:
    """Return whether a user may read, and whether they may trigger, all DAGs of the pipeline."""
    dags = [TRIGGER_NAME, *(dag_id_of(branch) for branch in settings.current().branches)]
    teams = DagModel.get_dag_id_to_team_name_mapping(dags)
    details = [DagDetails(id=dag, team_name=teams.get(dag)) for dag in dags]
    return _may(user, details, "GET", None), _may(user, details, "POST", DagAccessEntity.RUN)


def _may(user: BaseUser, dags: list[DagDetails], method: ResourceMethod, entity: DagAccessEntity | None) -> bool:
    requests: list[Any] = [{"method": method, "access_entity": entity, "details": dag} for dag in dags]
    return get_auth_manager().batch_is_authorized_dag(requests, user=user)
