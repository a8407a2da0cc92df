"""A proxy between a client and the broker that cuts their connection at a chosen frame of AMQP 0-9-1."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from tests.bus.broker import PASSWORD, USER

# What the client says before its first frame.
_PROTOCOL_HEADER: Final = 8
_FRAME_HEADER: Final = 7  # one byte of type, two of channel, four of the payload's size; behind it, one byte of end
_METHOD: Final = b"\x01"
_BODY: Final = b"\x03"
_BASIC_ACK: Final = b"\x00\x3c\x00\x50"

IN_THE_BODY: Final = "in the middle of a message's frame"
BEFORE_THE_CONFIRM: Final = "after the broker has a message, before its confirm comes back"


class Proxy(socketserver.ThreadingTCPServer):
    """Passes everything on, but for the cuts that are planned: each waits for its turn.

    Attributes:
        cuts: what is left of the plan: where to cut, and how many messages get by unharmed before.
    """

    block_on_close = True

    def __init__(self, port: int, *cuts: tuple[str, int]) -> None:
        """Stand in front of the broker on a port of loopback."""
        super().__init__(("127.0.0.1", 0), _Connection)
        self.broker_port = port
        self.cuts = list(cuts)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End. The clients have closed their connections by now."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def url(self) -> str:
        """Where the account of `Broker.url` gets through."""
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.server_address[1]}/%2F"

    def is_cut(self, where: str) -> bool:
        """Tell whether the frame that passes `where` is the one to cut at."""
        if not self.cuts or self.cuts[0][0] != where:
            return False
        _, unharmed = self.cuts.pop(0)
        if unharmed:
            self.cuts.insert(0, (where, unharmed - 1))
        return not unharmed


class _Connection(socketserver.BaseRequestHandler):
    """One client's connection, and the one to the broker that stands for it."""

    server: Proxy

    def handle(self) -> None:
        """Pass frames on in both directions until an end closes, or the connection is cut."""
        with socket.create_connection(("127.0.0.1", self.server.broker_port)) as broker:
            answers = threading.Thread(target=self._pass_on, args=(broker, self.request, self._answer))
            answers.start()
            with contextlib.suppress(OSError):
                broker.sendall(_exactly(self.request, _PROTOCOL_HEADER))
            self._pass_on(self.request, broker, self._question)
            answers.join()

    def _question(self, frame: bytes) -> bytes:
        cut = frame[:1] == _BODY and self.server.is_cut(IN_THE_BODY)
        return frame[: len(frame) // 2] if cut else frame

    def _answer(self, frame: bytes) -> bytes:
        confirms = frame[:1] == _METHOD and frame[_FRAME_HEADER:].startswith(_BASIC_ACK)
        return b"" if confirms and self.server.is_cut(BEFORE_THE_CONFIRM) else frame

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket, passed: Callable[[bytes], bytes]) -> None:
        """Pass frames on; one that does not get by whole is the last."""
        with contextlib.suppress(OSError):
            while frame := _frame(source):
                rest = passed(frame)
                target.sendall(rest)
                if rest != frame:
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _frame(source: socket.socket) -> bytes:
    header = _exactly(source, _FRAME_HEADER)
    return header + _exactly(source, int.from_bytes(header[3:]) + 1)


def _exactly(source: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        if not (more := source.recv(size - len(read))):
            raise ConnectionResetError("the other end has closed")
        read += more
    return read
