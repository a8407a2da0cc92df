"""What texts, times, addresses and accounts look like in a fedora-ci message. Regular expressions for `re.search`."""

from typing import Final

# (?!\n): Python's `$` also matches before a final newline.
END: Final = r"(?!\n)$"

# Control characters but tab and newline, and what else ends a line for Python: fedora-messaging cuts its files there.
UNPRINTABLE: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
TEXT: Final = rf"^[^{UNPRINTABLE}]+{END}"

_CHARACTER: Final = r"[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}"

_GROUP: Final = r"[0-9A-Fa-f]{1,4}"
_IPV6: Final = (
    rf"\[(({_GROUP}:){{7}}{_GROUP}|({_GROUP}:){{1,4}}(:{_GROUP}){{1,3}}"
    rf"|({_GROUP}:){{1,3}}(:{_GROUP}){{1,4}}|:(:{_GROUP}){{1,7}})\]"
)

# An address names no user, so that none can carry a password.
URL: Final = (
    rf"^https?://({_IPV6}|[A-Za-z0-9._~-]+)(:[0-9]{{1,5}})?"
    rf"(/({_CHARACTER})*)*(\?({_CHARACTER}|[/?])*)?(#({_CHARACTER}|[/?])*)?{END}"
)
TIME: Final = (
    r"^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    rf"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,6}})?Z{END}"
)
ACCOUNT: Final = rf"^[A-Za-z0-9_][A-Za-z0-9_.@+-]{{0,99}}{END}"
EMAIL: Final = rf"^[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+{END}"
