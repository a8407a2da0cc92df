"""From an Airflow context to the run it belongs to."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from ci_pipeline import notes, revisions, settings, store, wording
from ci_pipeline.change import Change
from ci_pipeline.conf import Conf
from ci_pipeline.errors import ChangeError, DistGitUnreachable
from ci_pipeline.kind import Kind
from ci_pipeline.store import runs

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.store.tables import Run

log = logging.getLogger(__name__)

_DAG_PREFIX = "ci-pipeline-"
# Airflow's type of the runs of a backfill, which nothing but a backfill can make.
_BACKFILL = "backfill"
# Workspaces and links are made of it. Airflow itself takes "..".
_RUN_ID = re.compile(r"[A-Za-z0-9_~:+-][A-Za-z0-9_.~:+-]{0,249}")


def find_run(session: Session, context: Context) -> Run | None:
    """Return the run of a DAG run; None of one that was triggered by hand and is not adopted yet."""
    dag_run = context["dag_run"]
    return runs.find(session, dag_run.dag_id, dag_run.run_id)


def run_of(session: Session, context: Context) -> Run:
    """Return the run of a DAG run.

    Raises:
        AirflowFailException: it has none: whoever began it was not `StageOperator.execute`.
    """
    run = find_run(session, context)
    if run is None:
        msg = f"there is no run {context['dag_run'].run_id} in the database; trigger the DAG again"
        raise AirflowFailException(msg)
    return run


def adopt(context: Context) -> bool:
    """Give a DAG run that was triggered by hand its run, with a number, of the change its conf names.

    Done once: the revision it names may be a branch, and mean another commit later.

    Returns:
        Whether it has been done now.

    Raises:
        AirflowFailException: neither conf nor partition key names a change; the text says what is wrong.
        AirflowException: dist-git does not answer; another try may help.
    """
    if store.transact(partial(find_run, context=context)) is not None:
        return False
    dag_run = context["dag_run"]
    try:
        conf, change = _read(context)
    except ChangeError as error:
        msg = f"this run has nothing to do: {error}"
        notes.write_refusal(settings.current(), dag_run.dag_id, dag_run.run_id, msg)
        raise AirflowFailException(msg) from error
    except DistGitUnreachable as error:
        raise AirflowException(str(error)) from error
    if not settings.current().is_watched(change.namespace, change.repo):
        log.warning(
            "%s/%s is not watched (packages); it is run because it was asked for", change.namespace, change.repo
        )
    run = store.transact(partial(_create, context=context, conf=conf, change=change))
    notes.write_change(settings.current(), run)
    return True


def _read(context: Context) -> tuple[Conf, Change]:
    dag_run = context["dag_run"]
    if not _RUN_ID.fullmatch(dag_run.run_id):
        msg = f"{dag_run.run_id!r} cannot be the id of a run here: letters, digits and _.~:+- only, and no dot first"
        raise ChangeError(msg)
    conf, branch = Conf.parse(context["params"]), dag_run.dag_id.removeprefix(_DAG_PREFIX)
    if dag_run.partition_key is not None:
        return conf, _of_partition(dag_run.partition_key, conf, branch=branch)
    named = conf.named(settings.current(), branch=branch)
    change = revisions.resolve(settings.current(), named)
    log.info("%s of %s is %s", named.rev, named.package, change.rev)
    return conf, change


def _of_partition(key: str, conf: Conf, *, branch: str) -> Change:
    """Read what is to be run from the partition key, which names a revision of the index.

    Raises:
        ChangeError: it names no change, or the conf names another one.
    """
    change = Change.of_partition(key, branch=branch)
    # The form of a backfill sends the namespace it suggests, whether it is the revision's or not.
    if any(named not in {None, meant} for named, meant in ((conf.repo, change.repo), (conf.rev, change.rev))):
        told = wording.one_line(f"{conf.repo} {conf.rev}")
        msg = f"conf names {told}, and the partition key {key}; leave one of them out"
        raise ChangeError(msg)
    return change


def _create(session: Session, context: Context, conf: Conf, change: Change) -> Run:
    # Found when a commit was answered to nobody, and its transaction is done again.
    dag_run = context["dag_run"]
    kind = Kind.BACKFILL if dag_run.run_type == _BACKFILL else Kind.MANUAL
    return find_run(session, context) or runs.create(
        session, change, run_id=dag_run.run_id, test_guidance=conf.test_guidance, kind=kind, options=conf.options
    )
