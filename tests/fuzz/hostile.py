"""What the world may put where a word, a number or a document is expected, as Hypothesis strategies."""

import json
from typing import Any, Final

from hypothesis import strategies as st

CONTROL: Final = ("\x00", "\x1b[31mred\x1b[0m", "a\nb", "a\r\n2026-01-01 INFO forged", "\x7f", "\x9b2J", "\u2028")
TURNED: Final = ("\u202egnp.exe", "\u200f\u200e", "\u2066f26\u2069", "\ufeff")
PATHS: Final = ("..", ".", "../../etc/passwd", "/etc/passwd", "a/../b", "a//b", "%2e%2e%2f", "~root", "a\\..\\b", "a/")
OPTIONS: Final = ("-rf", "--upload-pack=touch x", "--", "-", "@file", "$(id)", "`id`", "; id", "a b", "'", '"', "${x}")
LOOKALIKES: Final = ("\uff4626", "gr\u0435eter", "\u2024\u2024", "f26\u0301", "\U0001f40d", "\ud800", "\udc80\ud800")
LENGTHS: Final = ("", " ", "a" * 100, "a" * 101, "a" * 300, "a/" * 70, "0" * 39, "0" * 41, "F" * 40, "a" * 3_000)
NUMBERS: Final = (0, -1, 1.5, 2**31, 2**63, 2**64, 10**29, 10**31, 10**400, 1e308, float("inf"), float("nan"), True)


def nested(depth: int, *, array: bool = False) -> Any:
    """Return arrays in arrays, or objects in objects."""
    value: Any = None
    for _ in range(depth):
        value = [value] if array else {"a": value}
    return value


SHAPES: Final = (None, [], {}, [[]], nested(60), nested(60, array=True), {"topic": {}, "msg": []}, [{"commit": 1}] * 3)
TEXTS: Final = st.sampled_from([*CONTROL, *TURNED, *PATHS, *OPTIONS, *LOOKALIKES, *LENGTHS]) | st.text(max_size=12)
VALUES: Final = TEXTS | st.sampled_from([*NUMBERS, *SHAPES])
JSON: Final = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)


def dumped(value: object, *, as_ascii: bool) -> bytes:
    """Return a value as JSON, or what of it is none: NaN, and halves of characters as bytes that are not UTF-8."""
    return json.dumps(value, ensure_ascii=as_ascii).encode(errors="surrogatepass")
