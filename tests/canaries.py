"""Canaries: secrets that can be recognised anywhere, and who looks for them. It shares nothing with what masks them."""

import base64
import json
import mmap
import re
import secrets
import string
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jwt
import psycopg2
from psycopg2 import sql
from sqlalchemy import make_url

# Every canary begins with it. Letters alone: in an address, in JSON and in a configuration it is written as it is.
SIGN: Final = "canary"
# What a token of Airflow's looks like; one that our key has signed lets its holder in.
_TOKEN: Final = re.compile(rb"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{20,}")
_RANDOM: Final = 20
_ANY_CLAIM: Final[Any] = {"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False}


def canary(name: str, *, length: int = 0) -> str:
    """Return a new secret of letters and digits that says whose it is; of at least `length` characters."""
    room = max(length - len(SIGN + name), _RANDOM)
    return f"{SIGN}{name}{''.join(secrets.choice(string.ascii_letters + string.digits) for _ in range(room))}"


class Canaries:
    """Some canaries, and the searches for them.

    Args:
        planted: the secret of each name.
        jwt_secret: the key that tokens are signed with, if they are looked for, too.
    """

    def __init__(self, planted: Mapping[str, str], *, jwt_secret: str = "") -> None:
        self.planted = dict(planted)
        self._jwt_secret = jwt_secret

    def without(self, *names: str) -> "Canaries":
        """Return the others."""
        others = {name: value for name, value in self.planted.items() if name not in names}
        return Canaries(others, jwt_secret=self._jwt_secret)

    def in_bytes(self, data: bytes | mmap.mmap) -> set[str]:
        """Return the names of the canaries that data holds, however they are written there."""
        signed = any(data.find(sign) >= 0 for sign in _SIGNS)
        found = {name for name, forms in self._forms.items() for form in forms if signed and data.find(form) >= 0}
        return found | ({"a token"} if self._jwt_secret and any(map(self._is_ours, _TOKEN.findall(data))) else set())

    def in_text(self, text: str) -> set[str]:
        """Return the names of the canaries that a text holds."""
        return self.in_bytes(text.encode(errors="replace"))

    def in_file(self, path: Path) -> set[str]:
        """Return the names of the canaries in a file, and in its name."""
        found = self.in_text(path.name)
        if path.is_symlink() or not path.is_file() or not path.stat().st_size:
            return found
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return found | self.in_bytes(content)

    def in_tree(self, folder: Path, homes: Mapping[str, str] | None = None) -> dict[str, set[str]]:
        """Return what a folder holds, by the paths in it, but for the homes: patterns, and why it may be there."""
        found = {}
        for path in sorted(folder.rglob("*")):
            inside = str(path.relative_to(folder))
            if any(fnmatch(inside, home) for home in homes or {}):
                continue
            try:
                names = self.in_file(path)
            except FileNotFoundError:  # the pipeline works on meanwhile
                continue
            if names:
                found[inside] = names
        return found

    def in_database(self, url: str) -> dict[str, set[str]]:
        """Return what a PostgreSQL database holds, by its tables; every row of all of them as text."""
        place = make_url(url)
        options = {"host": place.host, "port": place.port, "dbname": place.database}
        connection = psycopg2.connect(user=place.username, password=place.password, **options)
        try:
            with connection.cursor() as cursor:
                held = {table: self._in_table(cursor, *table.split(".")) for table in _tables(cursor)}
                return {table: names for table, names in held.items() if names}
        finally:
            connection.close()

    def in_json(self, value: Any) -> set[str]:
        """Return the names of the canaries in something of dicts and lists."""
        return self.in_text(json.dumps(value, default=str, ensure_ascii=False))

    def _in_table(self, cursor: Any, schema: str, table: str) -> set[str]:
        cursor.execute(
            sql.SQL("SELECT CAST(row_to_json(rows) AS text) FROM {} AS rows").format(sql.Identifier(schema, table))
        )
        return {name for (row,) in cursor for name in self.in_text(row)}

    @cached_property
    def _forms(self) -> dict[str, set[bytes]]:
        return {name: set(forms_of(value)) for name, value in self.planted.items()}

    def _is_ours(self, token: bytes) -> bool:
        try:
            # One that is over is a leak as well: so is the next one.
            jwt.decode(token, self._jwt_secret, algorithms=["HS512", "HS256"], options=_ANY_CLAIM)
        except jwt.InvalidTokenError:
            return False
        return True


def forms_of(value: str) -> Iterator[bytes]:
    """Yield how a value may be written: as it is, in an address, in JSON, in hex, and in base64 wherever it begins."""
    raw = value.encode()
    yield raw
    yield from (quote(value, safe=safe).encode() for safe in ("", "/"))
    once = json.dumps(value)[1:-1]
    # A body in JSON is a string in the row of it.
    yield from (once.encode(), json.dumps(once)[1:-1].encode())
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for before in range(3):
        middle = _in_base64(raw, before)
        yield middle
        yield middle.replace(b"+", b"-").replace(b"/", b"_")


def _in_base64(raw: bytes, before: int) -> bytes:
    """Return the characters of base64 that are of `raw` alone, so many bytes (of three) behind something else."""
    written = base64.b64encode(b"\0" * before + raw + b"\0\0")
    return written[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]


# One of these is in whatever holds a canary. Few to look for: a stack's folder is large.
_SIGNS: Final = (
    SIGN.encode(),
    SIGN.encode().hex().encode(),
    SIGN.encode().hex().upper().encode(),
    *(_in_base64(SIGN.encode(), before) for before in range(3)),
)


def is_private(path: Path) -> bool:
    """Tell whether nobody but its owner can read a file."""
    return not path.stat().st_mode & 0o077


def _tables(cursor: Any) -> list[str]:
    cursor.execute(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables"
        " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    return sorted(name for (name,) in cursor)
