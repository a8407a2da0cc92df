"""From a file to a message for the bus. Only what the bus itself needs is asked of it."""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from fedora_messaging.message import Message

from ci_pipeline.errors import ChangeError

_STDIN: Final = Path("-")
_TOPIC: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
# AMQP's short string.
_LONGEST_TOPIC: Final = 255
_HINT: Final = "give one with --topic org.fedoraproject.prod.git.receive"


def read(file: Path, topic: str | None) -> Message:
    """Read a message.

    Args:
        file: JSON; `-` is standard input.
        topic: the topic of a bare body; None: the file is an envelope that names it.

    Raises:
        ChangeError: the file cannot be read, is not a JSON object, or there is no topic.
    """
    fields = _object(_text(file), file)
    if topic is None:
        topic, fields = _unwrap(fields, file)
    if not _TOPIC.fullmatch(topic) or len(topic) > _LONGEST_TOPIC:
        msg = f"{topic[:80]!r} is not a topic: words of letters, digits, - and _, joined by dots"
        raise ChangeError(msg)
    return Message(topic=topic, body=fields)


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if file == _STDIN else file.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}"
        raise ChangeError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{file} is not UTF-8 text"
        raise ChangeError(msg) from error


def _object(text: str, file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{file} is not JSON: {error}"
        raise ChangeError(msg) from error
    if not isinstance(fields, dict):
        msg = f"{file} is JSON, but not an object: fedora-messaging carries objects only"
        raise ChangeError(msg)
    return fields


def _unwrap(fields: dict[str, Any], file: Path) -> tuple[str, dict[str, Any]]:
    topic = fields.get("topic")
    payload = next((fields[key] for key in ("msg", "body") if key in fields), None)
    if payload is None:
        msg = f"{file} is no envelope (topic with msg or body), so it names no topic; {_HINT}"
        raise ChangeError(msg)
    if not isinstance(topic, str) or not topic:
        msg = f"the envelope in {file} has no topic; {_HINT}"
        raise ChangeError(msg)
    if not isinstance(payload, dict):
        msg = f"what the envelope in {file} holds is not an object: fedora-messaging carries objects only"
        raise ChangeError(msg)
    return topic, payload
