"""How things from outside, sizes and durations are worded, on a terminal and on a page."""

from datetime import timedelta
from typing import Final

_KIB: Final = 1024


def printable(text: str) -> str:
    """Return text that may be shown: what packages say must not steer a terminal, nor turn a line around."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def one_line(text: str) -> str:
    """Return text that may stand in a line of a log: what a stranger says must not look like a line of its own."""
    return "".join(character if character.isprintable() else "?" for character in text)


def cut(text: str, length: int) -> str:
    """Return text of at most `length` characters; what was cut off shows as an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def size(value: int) -> str:
    """Return a number of bytes for a human: `36.9 MiB`."""
    scaled, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if scaled < _KIB or unit == "GiB":
            break
        scaled /= _KIB
    return f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time span in its two largest units: `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`."""
    minute, hour, day = 60, 3600, 86400
    if seconds < minute:
        return f"{max(seconds, 0.0):.1f} s"
    whole = int(seconds)
    if whole < hour:
        return f"{whole // minute} min {whole % minute} s"
    if whole < day:
        return f"{whole // hour} h {whole % hour // minute} min"
    return f"{whole // day} d {whole % day // hour} h"


def age(span: timedelta) -> str:
    """Return how long ago something was, to the minute: `just now`, `5 min ago`, `3 h ago`, `4 d ago`."""
    minutes = int(span.total_seconds()) // 60
    for unit, length in (("d", 1440), ("h", 60), ("min", 1)):
        if minutes >= length:
            return f"{minutes // length} {unit} ago"
    return "just now"
