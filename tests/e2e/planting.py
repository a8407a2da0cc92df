"""The secrets of the tests' stack, each a canary; and where each is at home."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Final

from ci_pipeline.stack.layout import write_private
from ci_pipeline.stack.record import Secrets
from tests.canaries import Canaries, canary

# Keys have a length: a Fernet key is 32 bytes in base64, what signs tokens 64 at least, what signs deliveries any.
_LENGTHS: Final = {"airflow_fernet": 43, "airflow_jwt": 96, "receiver": 44}
# Packages print it on purpose, to see it masked in Airflow's log. It belongs to nobody.
DECOY: Final = "decoy"
# Files below the state folder, and why a secret is at home there. Each is for its owner alone.
HOMES: Final = {
    "secrets.json": "the stack's secrets are made once, and kept here",
    "stack.env": "what every component gets as its environment; the command line reads it, too",
    "stack.json": "the tests' stack has a key of a sink among what it was made with",
    "supervisord.conf": "the process manager gives the components their environment from here",
    "rabbitmq/rabbitmq.conf": "the broker makes its account of it",
    "rabbitmq/.erlang.cookie": "the broker's own",
    "airflow/passwords.json": "Airflow's simple auth manager reads its account here",
    "kubeconfig": "the cluster's account, as an operator puts it there",
    "runs/*/*/cluster/kubeconfig": "the copy that a run's suite uses, as long as its cluster is there",
}
# Made of canaries by others; nothing of them is a secret that can be used.
_KUBECONFIG: Final = """\
clusters: [{{name: it, cluster: {{server: "https://127.0.0.1:1"}}}}]
users: [{{name: it, user: {{token: {token}}}}}]
"""


def make() -> Canaries:
    """Return a new secret for everything of the stack that has one."""
    stack = [field.name for field in fields(Secrets)]
    names = [*stack, "receiver", "kubeconfig", "connection", "extra", DECOY]
    planted = {name: canary(name.replace("_", ""), length=_LENGTHS.get(name, 0)) for name in names}
    # Base64 of whole bytes, as the makers of keys have it.
    planted["airflow_fernet"] = planted["airflow_fernet"][:43] + "="
    planted["receiver"] = planted["receiver"][:44]
    return Canaries(planted, jwt_secret=planted["airflow_jwt"])


def plant(canaries: Canaries, state: Path) -> dict[str, str]:
    """Put the stack's secrets where it looks for them before it makes its own; return variables for `stack.env`."""
    stack = {field.name: canaries.planted[field.name] for field in fields(Secrets)}
    write_private(state / "secrets.json", json.dumps(stack))
    write_private(state / "kubeconfig", _KUBECONFIG.format(token=canaries.planted["kubeconfig"]))
    return {
        "CI_PIPELINE_CONFORMANCE__KUBECONFIG": str(state / "kubeconfig"),
        "CI_PIPELINE_PROVENANCE__PASSPHRASE": canaries.planted[DECOY],
    }
