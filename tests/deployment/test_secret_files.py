"""The secrets of a deployment: made once, and each for one account."""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from ci_pipeline import deployment, redaction
from ci_pipeline.deployment.secret_files import ACCOUNTS
from ci_pipeline.errors import SettingsError, StackError


def known(folder: Path) -> dict[str, str]:
    """Return the secrets as they are kept."""
    return dict(json.loads((folder / "secrets.json").read_text()))


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """A second start changes nothing that anybody has read already."""
    deployment.write(tmp_path)
    first = known(tmp_path), (tmp_path / "airflow" / "stack.env").read_text()
    deployment.write(tmp_path)

    assert (known(tmp_path), (tmp_path / "airflow" / "stack.env").read_text()) == first
    assert len(set(first[0].values())) == len(first[0])


def test_what_is_kept_is_masked_from_then_on(tmp_path: Path) -> None:
    """A command that breaks down behind it prints none of it."""
    deployment.write(tmp_path)

    assert redaction.redacted(f"cannot log in as {known(tmp_path)['rabbitmq']}") == "cannot log in as ***"


def test_two_deployments_share_none(tmp_path: Path) -> None:
    """There is no default."""
    deployment.write(tmp_path / "a")
    deployment.write(tmp_path / "b")

    assert not set(known(tmp_path / "a").values()) & set(known(tmp_path / "b").values())


def taken_out(folder: Path) -> None:
    """As an older version has it, that did not know of Celery."""
    without = {name: secret for name, secret in known(folder).items() if name != "celery"}
    (folder / "secrets.json").write_text(json.dumps(without))
    deployment.write(folder)


def renewed(folder: Path) -> None:
    """As an operator wants it."""
    deployment.write(folder, renew=["celery"])


@pytest.mark.parametrize("change", [taken_out, renewed])
def test_one_secret_is_made_anew(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """A newer version gets what it needs, and what is renewed is; the others stay."""
    deployment.write(tmp_path)
    before = known(tmp_path)
    change(tmp_path)

    after = known(tmp_path)
    assert after["celery"] != before["celery"]
    assert {**after, "celery": ""} == {**before, "celery": ""}
    assert after["celery"] in (tmp_path / "airflow" / "stack.env").read_text()


def test_an_unknown_secret_is_named_with_those_there_are(tmp_path: Path) -> None:
    """A typo must not pass for a changed password."""
    deployment.write(tmp_path)

    with pytest.raises(SettingsError, match=r"there is no secret rabitmq; there are airflow_admin, .*rabbitmq"):
        deployment.write(tmp_path, renew=["rabitmq"])


@pytest.mark.parametrize("text", ["", "[]", '{"celery": ""}', '{"celery": 1}', "{"])
def test_damaged_secrets_are_not_replaced_silently(tmp_path: Path, text: str) -> None:
    """Servers know the old ones; whoever runs this has to decide."""
    (tmp_path / "secrets.json").write_text(text)

    with pytest.raises(StackError, match=r"secrets.json cannot be read; put its backup back"):
        deployment.write(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_each_file_is_for_one_account(tmp_path: Path) -> None:
    """Its container's, and nobody else's; the folders stay root's."""
    files = deployment.write(tmp_path)

    assert {path.parent.name for path in files} == set(ACCOUNTS)
    assert all(path.stat().st_uid == ACCOUNTS[path.parent.name] for path in files)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (*files, tmp_path / "secrets.json"))
    assert all(path.parent.stat().st_uid == 0 for path in files)
    assert all(stat.S_IMODE(path.parent.stat().st_mode) == 0o711 for path in files)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StackError, match=r"cannot be written to .*file.*run it as root"):
        deployment.write(tmp_path / "file")


def test_airflow_gets_what_it_needs_and_no_more(tmp_path: Path) -> None:
    """Its accounts at both servers and its own keys; not the cookie that would let it command the broker."""
    deployment.write(tmp_path)
    secrets, variables = known(tmp_path), dotenv_values(tmp_path / "airflow" / "stack.env")

    assert variables["CI_PIPELINE_BUS__URL"] == f"amqp://ci_pipeline:{secrets['rabbitmq']}@rabbitmq:5672/ci_pipeline"
    assert variables["AIRFLOW__CELERY__BROKER_URL"] == f"amqp://celery:{secrets['celery']}@rabbitmq:5672/celery"
    assert variables["AIRFLOW__API_AUTH__JWT_SECRET"] == secrets["airflow_jwt"]
    assert variables["AIRFLOW__CORE__FERNET_KEY"] == secrets["airflow_fernet"]
    assert variables["AIRFLOW__API__SECRET_KEY"] == secrets["airflow_api"]
    assert secrets["erlang_cookie"] not in (tmp_path / "airflow" / "stack.env").read_text()
    assert json.loads((tmp_path / "airflow" / "passwords.json").read_text()) == {"admin": secrets["airflow_admin"]}


def test_the_broker_lets_nobody_else_in(tmp_path: Path) -> None:
    """Two accounts, each on a vhost of its own, known by salted digests; there is no guest."""
    deployment.write(tmp_path)
    secrets = known(tmp_path)
    told = json.loads((tmp_path / "rabbitmq" / "definitions.json").read_text())
    hashes = {user["name"]: base64.b64decode(user["password_hash"]) for user in told["users"]}

    assert {(one["user"], one["vhost"]) for one in told["permissions"]} == {
        ("ci_pipeline", "ci_pipeline"),
        ("celery", "celery"),
    }
    assert set(hashes) == {"ci_pipeline", "celery"}
    for name, secret in (("ci_pipeline", secrets["rabbitmq"]), ("celery", secrets["celery"])):
        salt, digest = hashes[name][:4], hashes[name][4:]
        assert digest == hashlib.sha256(salt + secret.encode()).digest()
