"""A storm: thousands of pushes, few of which are of a watched package, as Fedora's bus has them on its worst days."""

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pika

TOPIC: Final = "org.fedoraproject.prod.git.receive"
RECORDED: Final = Path(__file__).parents[1] / "data" / "messages" / f"{TOPIC}.json"
_PERSISTENT: Final = 2
WATCHED: Final = [f"watched-{number}" for number in range(395)]


@dataclass(frozen=True, slots=True)
class Storm:
    """Pushes in the form that was recorded on Fedora's bus.

    Attributes:
        messages: how many.
        percent: how many of a hundred are of a watched package.
        name: makes its revisions others than those of another storm.
    """

    messages: int
    percent: int = 2
    name: str = "storm"

    def bodies(self) -> Iterator[bytes]:
        """Yield the messages; those of watched packages stand at even distances."""
        recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
        for number in range(self.messages):
            message = copy.deepcopy(recorded)
            message["msg"]["commit"] |= self._commit(number)
            yield json.dumps(message).encode()

    def revs(self) -> list[str]:
        """Return the revisions that are pushed."""
        return [self._commit(number)["rev"] for number in range(self.messages)]

    def _commit(self, number: int) -> dict[str, str]:
        watched = number * self.percent % 100 < self.percent
        repo = WATCHED[number * self.percent // 100 % len(WATCHED)] if watched else f"stranger-{number % 5000}"
        rev = hashlib.sha1(f"{self.name} {number}".encode(), usedforsecurity=False).hexdigest()
        path = f"/srv/git/repositories/rpms/{repo}.git"
        return {"repo": repo, "rev": rev, "branch": "f26" if number % 2 else "master", "path": path}


def publish(url: str, storm: Storm) -> None:
    """Publish a storm; the broker has it on its disk when this returns."""
    properties = pika.BasicProperties(delivery_mode=_PERSISTENT, content_type="application/json")
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        for body in storm.bodies():
            channel.basic_publish("amq.topic", TOPIC, body, properties)
        channel.queue_declare("", exclusive=True)  # an answer to this comes after all of it
    finally:
        connection.close()
