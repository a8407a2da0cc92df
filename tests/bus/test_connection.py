"""What an error of the libraries below means to us."""

import inspect
from types import ModuleType

import pika.exceptions
import pytest
from fedora_messaging import exceptions as fedora
from pika.adapters.utils import connection_workflow

from ci_pipeline.bus import connection, link
from ci_pipeline.errors import BusUnreachable, CiPipelineError, MessageRejected, SettingsError

URL = "amqp://user:secret@broker.example:5671/vhost"
REJECTED = {
    "PermissionException",
    "BadDeclaration",
    "PublishForbidden",
    "PublishReturned",
    "ValidationError",
    "NoQueueError",
}


def _errors_of(*modules: ModuleType) -> list[type[Exception]]:
    classes = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    own = {value for value in classes if value.__module__.split(".")[0] in {"pika", "ci_pipeline", "fedora_messaging"}}
    return sorted((value for value in own if issubclass(value, Exception)), key=str)


ERRORS = _errors_of(fedora, pika.exceptions, connection_workflow, link)


def _instance(error: type[Exception]) -> Exception:
    """Make an error without the constructor: several ask for frames only a broker sends."""
    made = error.__new__(error)
    made.args = ("the library's words",)
    for name in ("reason", "obj_type", "description", "message"):
        if isinstance(made, fedora.BaseException):
            setattr(made, name, "the library's words")
    if issubclass(error, pika.exceptions.ChannelClosed | pika.exceptions.ConnectionClosed):
        return error(312, "the library's words")
    return made


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_of_the_libraries_maps_into_our_tree(error: type[Exception]) -> None:
    """A refusal of the message is parked; a broken configuration is said; all else is tried again."""
    translated = connection.not_published(_instance(error), URL)

    expected: type[CiPipelineError] = MessageRejected if error.__name__ in REJECTED else BusUnreachable
    expected = SettingsError if error is fedora.ConfigurationException else expected
    assert type(translated) is expected
    assert "secret" not in str(translated)
    assert "broker.example:5671" in str(translated) or expected is SettingsError


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_of_the_libraries_is_caught(error: type[Exception]) -> None:
    """What publisher, topology and consumer catch is all the libraries can raise."""
    assert issubclass(error, connection.FAILURES)


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), TimeoutError(), OSError(113, "No route to host")])
def test_a_broker_that_is_away_is_unreachable(error: OSError) -> None:
    """The socket's own errors too."""
    assert isinstance(connection.not_published(error, URL), BusUnreachable)


@pytest.mark.parametrize("url", ["", "localhost:5672", "http://localhost", "amqp://", "amqp://h:port/", "amqp://[::1"])
def test_a_url_that_is_none_is_a_settings_error(url: str) -> None:
    """It names the key and the form."""
    with pytest.raises(SettingsError, match=r"bus\.url is not an AMQP URL; write amqp://user:password@host:port/vhost"):
        connection.place(url)


@pytest.mark.parametrize(
    ("url", "place"), [(URL, "broker.example:5671"), ("amqp://h/%2F", "h:5672"), ("amqps://h", "h:5671")]
)
def test_a_place_is_host_and_port(url: str, place: str) -> None:
    """And never the password."""
    assert connection.place(url) == place
