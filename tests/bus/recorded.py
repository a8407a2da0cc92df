"""The recorded messages, as test parameters."""

import json
from pathlib import Path
from typing import Any, Final

from ci_pipeline.bus.events import RunFacts
from ci_pipeline.change import Change
from ci_pipeline.outcome import Status

FOLDER: Final = Path(__file__).parents[1] / "data" / "messages"
PREFIX: Final = "org.centos.prod"
GIT_RECEIVE: Final = "org.fedoraproject.prod.git.receive"


def envelope(topic: str) -> dict[str, Any]:
    """Return a recorded message in its fedmsg envelope."""
    fields: dict[str, Any] = json.loads((FOLDER / f"{topic}.json").read_text())
    return fields


def published() -> dict[str, dict[str, str]]:
    """Return the body of every recorded message of the pipeline, by event."""
    start = f"{PREFIX}.ci.pipeline."
    names = sorted(path.stem for path in FOLDER.glob(f"{start}*.json"))
    return {name.removeprefix(start): envelope(name)["msg"] for name in names}


def facts(body: dict[str, str], **others: Any) -> RunFacts:
    """Return what was known of the run when `body` was published; `others` replaces or adds facts."""
    change = Change(**{key: body[key] for key in ("namespace", "repo", "rev", "branch")})
    optional = ("original_spec_nvr", "nvr", "package_url", "compose_url", "compose_rev", "image_name", "image_url")
    known = {key: body[key] for key in optional if body.get(key, "''") != "''"}
    fields: dict[str, Any] = {
        "ci_name": body["CI_NAME"],
        "change": change,
        "ref": body["ref"],
        "build_id": int(body["build_id"]),
        "build_url": body["build_url"],
        "topic_prefix": PREFIX,
        "status": Status(body["status"]),
        **known,
        **others,
    }
    return RunFacts(**fields)
