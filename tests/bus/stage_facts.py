"""What may be known of a stage, as test parameters."""

from datetime import UTC, datetime
from typing import Any, Final

from ci_pipeline.bus.fedora_ci_bodies import Contact, Moment, StageFacts
from ci_pipeline.change import Change
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.stages import FUNCTIONAL_TESTS

PREFIX: Final = "org.centos.prod"
REV: Final = "35fdde92a0292def6a99acd3c237272789d020b2"
COMPOSE_REV: Final = "9a" * 32
CHANGE: Final = Change(namespace="rpms", repo="greeter", rev=REV, branch="f26")
CONTACT: Final = Contact(
    name="CI-Pipeline",
    team="Atomic",
    url="https://ci.example.org",
    docs="https://ci.example.org/docs",
    email="ci@lists.example.org",
)
# Every way a stage can end.
ENDINGS: Final = [(status, fault) for status in Status for fault in Fault]


def facts(**others: Any) -> StageFacts:
    """Return what is known of functional tests that passed; `others` replaces or adds facts."""
    fields: dict[str, Any] = {
        "moment": Moment.ENDED,
        "stage": FUNCTIONAL_TESTS,
        "change": CHANGE,
        "contact": CONTACT,
        "ref": "fedora/f26/x86_64/atomic-host",
        "arch": "x86_64",
        "build_id": 464,
        "build_url": "http://airflow.example.org/dags/ci-pipeline-f26/runs/rpms.greeter-35fdde9-f26-464",
        "log_url": "http://airflow.example.org/logs/464/functional_tests.log",
        "generated_at": datetime(2017, 9, 4, 12, 0, 31, 250_000, tzinfo=UTC),
        "started_at": datetime(2017, 9, 4, 12, 0, 1, tzinfo=UTC),
        "ended_at": datetime(2017, 9, 4, 12, 0, 31, tzinfo=UTC),
        "status": Status.SUCCESS,
        "issuer": "alice",
        "nvr": "greeter-1.0-1.7.35fdde9.fc26",
        "package_url": "http://artifacts.example.org/fedora-atomic/f26/repo/greeter_repo/",
        **others,
    }
    return StageFacts(**fields)
