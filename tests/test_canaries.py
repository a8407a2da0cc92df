"""Who looks for canaries finds them: each is planted on purpose here, and each search is to sing."""

import base64
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import jwt
import pytest

from ci_pipeline import store
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Inbound, Run
from tests.canaries import Canaries, canary, is_private
from tests.e2e.watching import Seen, Watch
from tests.makers import new_run

KEY = canary("jwt", length=96)
WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in an address": lambda secret: f"amqp://us:{quote(secret)}@127.0.0.1",
    "in JSON": lambda secret: json.dumps({"password": secret}),
    "in hex": lambda secret: secret.encode().hex(),
    "in hex of PostgreSQL": lambda secret: rf"\x{(b'before' + secret.encode()).hex()}",
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in the header of an account": lambda secret: base64.b64encode(f"admin:{secret}".encode()).decode(),
    "in base64 behind one letter": lambda secret: base64.b64encode(f"x{secret}yz".encode()).decode(),
    "in base64 behind two letters": lambda secret: base64.urlsafe_b64encode(f"?>{secret}y".encode()).decode(),
}


@pytest.fixture
def planted() -> Canaries:
    """One canary, with characters that are written otherwise in most places."""
    return Canaries({"bus": canary("bus") + '/@"%+'})


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN.keys())
def test_it_is_found_however_it_is_written(planted: Canaries, write: Callable[[str], str]) -> None:
    """In the middle of other things."""
    assert planted.in_text(f"some words {write(planted.planted['bus'])} and more") == {"bus"}


def test_nothing_is_found_where_nothing_is(planted: Canaries) -> None:
    """Nor is another run's canary."""
    assert planted.in_text(f"some words {canary('bus')} and more") == set()


def test_it_is_found_in_files_and_their_names(planted: Canaries, tmp_path: Path) -> None:
    """Wherever in the tree, and behind many bytes; a home is passed over."""
    secret = planted.planted["bus"]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "log").write_bytes(b"\x00\xff" * 100_000 + secret.encode())
    (tmp_path / "home").write_text(secret)
    (tmp_path / "empty").touch()
    (tmp_path / "clean").write_text("nothing")
    Path(tmp_path, base64.urlsafe_b64encode(secret.encode()).decode()).touch()
    found = planted.in_tree(tmp_path, {"home": "it is kept here"})

    assert found["deep/er/log"] == {"bus"}
    assert len(found) == 2
    assert "home" in planted.in_tree(tmp_path)


def test_it_is_found_in_a_log(planted: Canaries, tmp_path: Path) -> None:
    """As Python's logging writes it."""
    handler = logging.FileHandler(tmp_path / "a.log")
    record = logging.LogRecord("x", logging.INFO, "", 1, "no %s", ({"url": planted.planted["bus"]},), None)
    handler.emit(record)
    handler.close()

    assert planted.in_tree(tmp_path) == {"a.log": {"bus"}}


@pytest.mark.usefixtures("database")
def test_it_is_found_in_a_table(planted: Canaries, current: Settings) -> None:
    """In a column of text, in JSON, and in bytes."""
    secret, url = planted.planted["bus"], current.database.url.get_secret_value()
    before = planted.in_database(url)
    with store.session() as session:
        session.add(
            Inbound(message_id="1", topic="t", body=json.dumps({"deep": [{"er": secret}]}), digest="d", state="dead")
        )
        session.get_one(Run, new_run().id).reason = f"no answer of amqp://us:{secret}@127.0.0.1"

    assert before == {}
    assert planted.in_database(url) == {"public.inbound": {"bus"}, "public.run": {"bus"}}


def test_a_token_that_our_key_signed_is_found() -> None:
    """Also one whose time is over; nobody else's is."""
    found = Canaries({}, jwt_secret=KEY)
    ours, theirs = (jwt.encode({"sub": "1", "exp": 1}, key, algorithm="HS512") for key in (KEY, "x" * 96))

    assert found.in_text(f"Authorization: Bearer {ours}") == {"a token"}
    assert found.in_text(f"Authorization: Bearer {theirs}") == set()


def test_it_is_found_in_process_listings(planted: Canaries) -> None:
    """On a command line, and in an environment; which is which is kept, and who it was."""
    secret, program = planted.planted["bus"], [sys.executable, "-c", "input()"]
    with Watch(planted, every=0.01) as watch:
        for argv, environment in (([*program, secret], {}), (program, {"A_SECRET": secret})):
            with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE) as process:
                assert watch.wait_for(process.pid)
                process.communicate(b"\n")
        seen = watch.seen()

    assert {(one.where, frozenset(one.names)) for one in seen} == {
        ("cmdline", frozenset({"bus"})),
        ("environ", frozenset({"bus"})),
    }
    assert all(isinstance(one, Seen) and one.command.startswith(sys.executable) for one in seen)


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Neither for the group nor for others."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    kept = is_private(path)
    path.chmod(0o640)

    assert (kept, is_private(path)) == (True, False)
