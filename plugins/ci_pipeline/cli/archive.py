"""Messages as an archive returns them: in fedmsg's envelope, like those the message contract was recorded from."""

import json
from typing import Any

from ci_pipeline.store.tables import Outbox


def envelope(row: Outbox) -> dict[str, Any]:
    """Return a stored message in its envelope: `i`, `timestamp`, `msg_id`, `topic`, `msgJson`, `msg`.

    There is no `crypto`: it names a signature, and fedora-messaging signs nothing. `i`, a sender's counter per
    connection, is 1 in every recorded message. The timestamp, in seconds, is when the bus took the message; until then,
    when it was stored.
    """
    time = row.published_at or row.created_at
    return {
        "i": 1,
        "timestamp": int(time.timestamp()),
        "msg_id": f"{row.created_at.year}-{row.id}",
        "topic": row.topic,
        "msgJson": json.dumps(row.body, sort_keys=True, separators=(",", ":")),
        "msg": row.body,
    }
