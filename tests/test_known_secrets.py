"""Every secret the settings lead to is masked once they are read, and what they say of themselves holds none."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import text

from ci_pipeline import known_secrets, redaction, settings
from ci_pipeline.errors import DatabaseUnreachable, SettingsError
from ci_pipeline.redaction import redacted
from ci_pipeline.store import session

SINKS = """
[[sinks]]
name = "one"
kind = "http"
url = "https://one.example.org"
secret_env = "KEYS"

[[sinks]]
name = "two"
kind = "elasticsearch"
url = "https://two.example.org"
token_env = "TOKEN"

[[sinks]]
name = "three"
kind = "resultsdb"
url = "https://three.example.org/api/v2.0"
username = "us"
password_env = "PASSWORD_OF_THREE"
"""
# What is planted where, by the variable; a name of each is the secret part of it.
PLANTED = {
    "CI_PIPELINE_BUS__URL": "amqp://us:canary-bus@127.0.0.1:1/%2F",
    "CI_PIPELINE_DATABASE__URL": "postgresql+psycopg2://us:canary-database@127.0.0.1:1/db",
    "CI_PIPELINE_AIRFLOW__PASSWORD": "canary-airflow",
    "CI_PIPELINE_PROVENANCE__PASSPHRASE": "canary-passphrase",
    "CI_PIPELINE_PROVISION__DUFFY__KEY": "canary-duffy",
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
    "OS_PASSWORD": "canary-openstack",
    "KEYS": "whsec_canary-old whsec_canary-new",
    "TOKEN": "canary-token",
    "PASSWORD_OF_THREE": "canary-three",
    "AIRFLOW__CORE__FERNET_KEY": "canary-fernet",
    "AIRFLOW__API__SECRET_KEY": "canary-api",
    "AIRFLOW__API_AUTH__JWT_SECRET": "canary-jwt",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://us:canary-metadata@127.0.0.1:1/airflow",
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder and a pipeline.toml of the test's own, with a sink of every kind."""
    (tmp_path / "pipeline.toml").write_text(SINKS)
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("CI_PIPELINE_CONFIG", str(tmp_path / "pipeline.toml"))
    monkeypatch.setenv("CI_PIPELINE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.parametrize("where", ["environment", "stack.env"])
def test_reading_the_settings_hides_every_secret(state: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Wherever it is read from: a component's environment, or the stack's file by the command line."""
    if where == "environment":
        for name, value in PLANTED.items():
            monkeypatch.setenv(name, value)
    else:
        (state / "stack.env").write_text("".join(f"{name}='{value}'\n" for name, value in PLANTED.items()))
    settings.load()

    assert "canary" not in redacted("\n".join(PLANTED.values()))


def test_settings_that_are_shown_hold_no_secret(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As text, as Python shows them, and as JSON."""
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    found = settings.load()

    for shown in (str(found), repr(found), found.model_dump_json(), str(found.model_dump())):
        assert "canary" not in shown


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CI_PIPELINE_BUS__URL", "amqp://us:canary/bus@127.0.0.1:1/%2F"),
        ("CI_PIPELINE_BUS__URL", "amqp://us:canary@bus@127.0.0.1:1/%2F"),
        ("CI_PIPELINE_DATABASE__URL", "postgresql+psycopg2://us:c@canary@127.0.0.1:1/db"),
        ("CI_PIPELINE_DATABASE__URL", "postgresql+psycopg2://us:c#canary@127.0.0.1:1/db"),
        ("CI_PIPELINE_DIST_GIT__URL", "https://us:canary@src.example.org"),
        ("CI_PIPELINE_DIST_GIT__URL", "https://canary@src.example.org"),
        ("CI_PIPELINE_DIST_GIT__URL", "ssh://us:canary@src.example.org"),
        ("CI_PIPELINE_DIST_GIT__LOOKASIDE", "https://us:canary@src.example.org"),
        ("CI_PIPELINE_COMPOSE__BASE_REPO", "https://us:canary@src.example.org"),
        ("CI_PIPELINE_ARTIFACTS__URL", "https://us:canary@src.example.org"),
        ("CI_PIPELINE_CONFORMANCE__KUBEADM__NETWORK", "https://us:canary@src.example.org"),
    ],
)
def test_a_wrong_secret_is_refused_without_being_told(
    state: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """What others read holds no account; a password that is not quoted would be taken for a part of the host."""
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=r"must be quoted|must hold no account") as refused:
        settings.load()

    assert "canary" not in str(refused.value)


def test_a_section_that_cannot_be_read_is_named_without_what_it_holds(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole section in one variable is JSON."""
    monkeypatch.setenv("CI_PIPELINE_BUS", '{"url": "amqp://us:canary@127.0.0.1"')

    with pytest.raises(SettingsError, match=r'"bus" .* in JSON') as refused:
        settings.load()

    assert "canary" not in f"{refused.value} {refused.value.__cause__}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bus.url", "amqp://us:canary@127.0.0.1/%2F"),
        ("database.url", "postgresql+psycopg2://us@127.0.0.1/db?password=canary"),
        ("airflow.password", "canary"),
        ("provenance.passphrase", "canary"),
        ("provision.duffy.key", "canary"),
    ],
)
def test_a_secret_in_the_file_is_refused_without_being_told(state: Path, key: str, value: str) -> None:
    """The file is in a repository. The sentence says which variable takes the secret."""
    section, _, name = key.rpartition(".")
    (state.parent / "pipeline.toml").write_text(f"[{section}]\n{name} = '{value}'\n")

    variable = f"CI_PIPELINE_{key.replace('.', '__').upper()}"
    with pytest.raises(SettingsError, match=rf"{key}; .*{variable}") as refused:
        settings.load()

    assert "canary" not in str(refused.value)


def test_every_secret_of_the_settings_is_refused_in_the_file() -> None:
    """What is a SecretStr in the settings is in the list."""
    assert set(_secrets_of(settings.Settings)) == set(known_secrets.KEYS)


def _secrets_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for key, field in model.model_fields.items():
        if field.annotation is SecretStr:
            yield prefix + key
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _secrets_of(field.annotation, f"{prefix}{key}.")


def test_an_address_without_a_password_may_be_in_the_file(state: Path) -> None:
    """A certificate is the account there."""
    (state.parent / "pipeline.toml").write_text("[bus]\nurl = 'amqps://fedora:@broker.example.org/%2Fpublic'\n")

    assert settings.load().bus.url.get_secret_value().startswith("amqps://fedora:@")


def test_an_account_of_ssh_is_no_secret(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key is elsewhere."""
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", "ssh://ci@pkgs.example.org")

    assert settings.load().dist_git.url == "ssh://ci@pkgs.example.org"


def test_a_database_that_is_away_is_named_without_its_password(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does anything the error was made of."""
    monkeypatch.setenv("CI_PIPELINE_DATABASE__URL", PLANTED["CI_PIPELINE_DATABASE__URL"])

    with pytest.raises(DatabaseUnreachable) as away, session() as opened:
        opened.execute(text("SELECT 1"))
    error: BaseException | None = away.value
    while error:
        assert "canary" not in f"{error!s} {error!r}"
        error = error.__cause__ or error.__context__


UNCAUGHT = """
import logging
from ci_pipeline import cli, settings
from ci_pipeline.cli import app
def fail():
    settings.load()
    logging.getLogger("a.library").warning("no answer of %s", "amqp://us:canary-bus@127.0.0.1")
    raise ValueError("invalid address amqp://us:canary-bus@127.0.0.1")
app.app = fail
cli.main()
"""


def test_what_nobody_caught_is_printed_without_secrets(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line's traceback, and what libraries log."""
    monkeypatch.setenv("CI_PIPELINE_BUS__URL", PLANTED["CI_PIPELINE_BUS__URL"])
    done = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "no answer of amqp://us:***@127.0.0.1" in done.stderr
    assert "ValueError: invalid address amqp://us:***@127.0.0.1" in done.stderr


def test_a_secret_that_was_read_by_name_is_hidden(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it was set after the settings were read."""
    settings.load()
    monkeypatch.setenv("KEYS", "whsec_canary-late")
    settings.secret("KEYS")

    assert redacted("canary-late") == "***"


def test_settings_that_have_not_changed_hide_their_secrets_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has forgotten them: what is read once is masked each time."""
    monkeypatch.setenv("CI_PIPELINE_BUS__URL", PLANTED["CI_PIPELINE_BUS__URL"])
    settings.load()
    redaction.forget()
    settings.load()

    assert redacted("canary-bus") == redaction.MASK
