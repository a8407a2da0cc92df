r"""A program of a hostile package: gives an RPM another name, of as many bytes, and makes its digests right again.

Arguments: the RPM file, its name, the other name; in the latter `\n` is a line break.
"""

import hashlib
import struct
import sys
from pathlib import Path

LEAD = 96
INTRO = 16
ENTRY = 16


def size_of(raw: bytes, start: int) -> int:
    """Return the bytes of the header that starts there: its intro, its index, its store."""
    entries, store = struct.unpack(">II", raw[start + 8 : start + INTRO])
    return int(INTRO + entries * ENTRY + store)


path, old, new = Path(sys.argv[1]), *(word.replace("\\n", "\n").encode() for word in sys.argv[2:4])
raw = path.read_bytes()
start = LEAD + (size_of(raw, LEAD) + 7) // 8 * 8
end = start + size_of(raw, start)
header = raw[start:end].replace(b"\0" + old + b"\x001.0\0", b"\0" + new + b"\x001.0\0")
signature = raw[:start]
for kind in ("sha256", "sha1"):
    before, after = (hashlib.new(kind, one).hexdigest().encode() for one in (raw[start:end], header))
    signature = signature.replace(before, after)
whole = (hashlib.md5(one, usedforsecurity=False).digest() for one in (raw[start:], header + raw[end:]))
path.write_bytes(signature.replace(*whole) + header + raw[end:])
