"""What a stage is told, so that it can make the key of what it is about to make: the part of the key that we know."""

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from ci_pipeline.executors.base import Request
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import kept_outputs
from ci_pipeline.store.tables import Run

# The stages that have a key; docs/reuse.md says why the others have none.
KEYED: Final = (BUILD_PACKAGE.name,)
# What a run is told that is to make everything itself (`conf.Reuse`).
NEVER: Final = "never"
# What of a request says for whom and where, and nothing of what is made. Whatever else is in a request is in the key,
# also what is added to requests some day.
NOT_IN_THE_KEY: Final = frozenset(
    {
        "artifacts",
        "base_repo",
        "branch",
        "build_id",
        "builder_name",
        "cache",
        "cluster_dir",
        "dist_git_branch",
        "dist_git_url",
        "image_dir",
        "install",
        "koji",
        "lookaside_url",
        "mock",
        "ostree_repo",
        "package_link",
        "package_repo",
        "package_set",
        "promote",
        "ref",
        "rev",
        "reuse",
        "run",
        "workspace",
    }
)
# Of the playbooks: on which machines they run is no part of what they do, what Python compiles of them no other text.
_WHERE: Final = "inventory"
_COMPILED: Final = "__pycache__"


def means_of(settings: Settings, stage: str, playbooks: Path) -> str:
    """Return one digest of that by which a stage is carried out; "" if it has no key.

    It reads every playbook: take it before a transaction begins.

    Args:
        settings: whether the stage is reused, and how it is carried out.
        stage: its name.
        playbooks: the folder of the playbooks that carry it out.
    """
    how = settings.stage(stage)
    is_known = how.executor == "ansible" and how.toolchain == "local"
    return playbooks_digest(playbooks) if is_known and stage in KEYED and stage in settings.reuse.stages else ""


def asked_of(session: Session, settings: Settings, run: Run, request: Request, *, means: str) -> dict[str, Any]:
    """Return what the request of a stage has besides, so that its output can be kept under a key, and reused.

    Args:
        session: an open transaction.
        settings: how often the stage is tried, and whether a rebased commit is the same.
        run: its run; the try has begun.
        request: the stage's request with all variables of its playbook.
        means: what `means_of` returns of it.

    Returns:
        `{"reuse": ...}` of docs/stage-contract.md; nothing for a stage without a key.
    """
    if not means:
        return {}
    stage = request["stage"]
    known = kept_outputs.keys(session, run, stage) if may_reuse(session, settings, run, stage) else []
    told = {"request": digest_of(request, means), "known": known, "rebased": settings.reuse.rebased}
    return {"reuse": told}


def may_reuse(session: Session, settings: Settings, run: Run, stage: str) -> bool:
    """Tell whether the try of a stage that has just begun may reuse anything.

    Not if its run was told not to. And what a person clears is to run: only a stage that has not ended yet may, in its
    first try or one that follows by itself on a fault of the infrastructure.
    """
    earlier = kept_outputs.earlier_ends(session, run, stage)
    by_itself = len(earlier) <= settings.stage(stage).retries
    quiet = all(end == (Status.FAILURE, Fault.INFRASTRUCTURE) for end in earlier)
    return run.options.get("reuse") != NEVER and by_itself and quiet


def digest_of(request: Request, means: str) -> str:
    """Return the digest of what a stage is asked for, and of that by which it is carried out."""
    asked = {key: value for key, value in request.items() if key not in NOT_IN_THE_KEY}
    told = {"asked": asked, "playbooks": means, "ansible": version("ansible-core")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode("ascii")).hexdigest()


def playbooks_digest(folder: Path) -> str:
    """Return one digest of the names and contents of all playbooks, roles and modules."""
    whole = hashlib.sha256()
    for above, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if Path(above, name) != folder / _WHERE and name != _COMPILED)
        for name in sorted(files):
            path = Path(above, name)
            whole.update(hashlib.sha256(os.fsencode(path.relative_to(folder))).digest())
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
