"""TLS with a real broker that demands a client certificate."""

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pika
import pytest

from ci_pipeline.bus import tls, topology
from ci_pipeline.bus.consumer import Batch, Consumer
from ci_pipeline.bus.publisher import Publisher
from ci_pipeline.bus.tls import TlsFiles
from ci_pipeline.errors import BusUnreachable, SettingsError
from tests.bus.broker import FEDORA_VHOST, PASSWORD, USER, Broker
from tests.bus.certificates import Authority, Issued
from tests.bus.test_publisher import EXCHANGE, _complete

QUEUE = "over-tls"
OURS = f"{USER}:{PASSWORD}"


@dataclass(frozen=True)
class Site:
    """A broker that speaks TLS, the CA of its certificate and of its clients, and one it knows nothing of."""

    broker: Broker
    ours: Authority
    theirs: Authority
    client: Issued

    @property
    def files(self) -> TlsFiles:
        return self.ours.files(self.client)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One node for all tests of the module; its client certificates name an account (EXTERNAL)."""
    with tempfile.TemporaryDirectory(prefix="certificates-") as folder:
        ours, theirs = Authority(Path(folder), "ours"), Authority(Path(folder), "theirs")
        node = Broker(Path(tempfile.mkdtemp(prefix="rabbitmq-")), tls=_configuration(ours))
        try:
            node.start()
            yield Site(node, ours, theirs, ours.issue(USER))
        finally:
            node.stop()


def _configuration(ours: Authority) -> dict[str, object]:
    server = ours.issue("server")
    return {
        "auth_mechanisms.1": "PLAIN",
        "auth_mechanisms.2": "EXTERNAL",
        "ssl_cert_login_from": "common_name",
        "ssl_options.cacertfile": ours.file,
        "ssl_options.certfile": server.certificate,
        "ssl_options.keyfile": server.key,
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "true",
    }


@pytest.fixture
def nothing_arrives(site: Site) -> Iterator[None]:
    """An independent client listens to everything meanwhile."""
    with contextlib.closing(site.broker.connect()) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, EXCHANGE, "#")
        yield

        assert channel.basic_get(queue) == (None, None, None)


def _publish(url: str, files: TlsFiles) -> None:
    with Publisher(url, EXCHANGE, 15, files=files) as publisher:
        publisher.publish(_complete())


def _first(url: str, queue: str, files: TlsFiles) -> Batch:
    async def consume() -> Batch:
        async with asyncio.timeout(60), Consumer(url, EXCHANGE, queue, ["#"], files=files) as consumer:
            async for batch in consumer.batches():
                await consumer.ack(batch)
                return batch
        raise AssertionError("no batch")

    return asyncio.run(consume())


@pytest.mark.usefixtures("nothing_arrives")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("none", r"breaks the TLS handshake off; it may want a certificate: set bus\.certificate and bus\.key"),
        ("another CA's", r"does not trust our certificate; put one of a CA it trusts into bus\.certificate"),
        ("expired", r"says that our certificate is out of date; renew bus\.certificate"),
    ],
)
def test_a_certificate_the_broker_does_not_take_is_said(
    site: Site, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion, case: str, sentence: str
) -> None:
    """The message waits. In TLS 1.3 the broker's hanging up can overtake what it says of the certificate."""
    speak = tls._trusting

    def speak_no_newer(ca: Path | None) -> ssl.SSLContext:
        context = speak(ca)
        context.maximum_version = version
        return context

    monkeypatch.setattr(tls, "_trusting", speak_no_newer)
    other = site.theirs.issue(USER)
    files = {
        "none": site.ours.files(),
        "another CA's": TlsFiles(site.ours.file, other.certificate, other.key),
        "expired": site.ours.files(site.ours.issue("expired", expired=True)),
    }[case]
    hung_up = r"ends the connection at once; .* or with that another bus\.certificate\?"
    pattern = f"{sentence}|{hung_up}" if version is ssl.TLSVersion.TLSv1_3 else sentence

    with pytest.raises(BusUnreachable, match=pattern) as caught:
        _publish(site.broker.tls_url_of(OURS), files)
    assert PASSWORD not in str(caught.value)


@pytest.mark.usefixtures("nothing_arrives")
@pytest.mark.parametrize("query", ["", "?no_verify_ssl=1"])
def test_a_broker_of_another_ca_is_not_trusted(site: Site, query: str) -> None:
    """Whatever the URL says: nothing but the settings decides."""
    files = replace(site.files, ca=site.theirs.file)

    with pytest.raises(BusUnreachable, match=r"has a certificate that does not hold; check bus\.ca.*self-signed"):
        _publish(site.broker.tls_url_of(OURS) + query, files)


@pytest.mark.usefixtures("nothing_arrives")
def test_without_a_ca_the_public_ones_are_trusted_and_ours_is_not(site: Site) -> None:
    """No CA does not mean no verification."""
    with pytest.raises(BusUnreachable, match="has a certificate that does not hold"):
        _publish(site.broker.tls_url_of(OURS), replace(site.files, ca=None))


@pytest.mark.usefixtures("nothing_arrives")
def test_a_broker_of_another_name_is_not_trusted(site: Site) -> None:
    """Its certificate is of our CA, and of another host."""
    with pytest.raises(BusUnreachable, match=r"check .* the host name in bus\.url: Hostname mismatch"):
        _publish(site.broker.tls_url_of(OURS, host="localhost"), site.files)


@pytest.mark.usefixtures("nothing_arrives")
def test_plain_amqp_on_the_port_of_tls_is_said(site: Site) -> None:
    """With the cure."""
    url = site.broker.tls_url_of(OURS).replace("amqps:", "amqp:")

    with pytest.raises(BusUnreachable, match=r"ends the connection at once; does it want amqps:// in bus\.url, or"):
        _publish(url, TlsFiles())


@pytest.mark.usefixtures("nothing_arrives")
def test_tls_on_the_port_of_plain_amqp_is_said(site: Site) -> None:
    """With the cure."""
    with pytest.raises(BusUnreachable, match=r"does not speak TLS there; check the port in bus\.url, or write amqp://"):
        _publish(site.broker.url.replace("amqp:", "amqps:"), site.files)


@pytest.mark.usefixtures("nothing_arrives")
def test_a_certificate_that_names_no_account_is_refused(site: Site) -> None:
    """The broker knows the CA, and not the name."""
    files = site.ours.files(site.ours.issue("nobody"))

    with pytest.raises(BusUnreachable, match=r"refuses the account; .* or whom bus\.certificate names: .*EXTERNAL"):
        _publish(site.broker.tls_url_of("nobody:"), files)


@pytest.mark.usefixtures("nothing_arrives")
def test_a_password_is_used_where_there_is_one(site: Site) -> None:
    """The certificate alone would do; a wrong password beside it must not pass."""
    with pytest.raises(BusUnreachable, match=r"refuses the account; .*PLAIN"):
        _publish(site.broker.tls_url_of(f"{USER}:not-this"), site.files)


def test_a_broker_that_does_not_take_certificates_for_accounts_is_said(broker: Broker) -> None:
    """It offers PLAIN alone."""
    with pytest.raises(BusUnreachable, match=r"does not take this way to log in; .*: it offers .*PLAIN"):
        _publish(broker.url + "?auth=external", TlsFiles())


@pytest.mark.parametrize("key", ["ca", "certificate", "key"])
def test_files_for_plain_amqp_are_a_settings_error(site: Site, key: str) -> None:
    """Whoever sets them thinks that the connection is encrypted."""
    everything = {"certificate": site.client.certificate, "key": site.client.key}
    files = TlsFiles(ca=site.ours.file) if key == "ca" else TlsFiles(**everything)

    with pytest.raises(SettingsError, match=rf"bus\.{key}.*: for TLS only; write amqps:// in bus\.url, or unset them"):
        _publish(site.broker.url, files)


def test_a_certificate_without_its_key_is_a_settings_error(site: Site) -> None:
    """And a key without its certificate."""
    for files in (replace(site.files, key=None), replace(site.files, certificate=None)):
        with pytest.raises(SettingsError, match=r"bus\.certificate and bus\.key go together"):
            _publish(site.broker.tls_url_of(OURS), files)


@pytest.mark.parametrize("key", ["ca", "certificate", "key"])
def test_a_file_that_cannot_be_read_is_named(site: Site, tmp_path: Path, key: str) -> None:
    """With its setting, its path and why."""
    path = tmp_path / "missing.pem"

    with pytest.raises(SettingsError, match=rf"bus\.{key} {path} cannot be read: No such file or directory; correct"):
        _publish(site.broker.tls_url_of(OURS), replace(site.files, **{key: path}))


def test_a_file_that_holds_something_else_is_named(site: Site, tmp_path: Path) -> None:
    """And nothing of what it holds is in the sentence."""
    path = tmp_path / "other.pem"
    path.write_text("the secret of something else")
    url = site.broker.tls_url_of(OURS)

    with pytest.raises(SettingsError, match=rf"bus\.ca {path} holds no certificate in PEM form"):
        _publish(url, replace(site.files, ca=path))
    for key in ("certificate", "key"):
        with pytest.raises(SettingsError, match=rf"bus\.{key} {path}.*cannot be used; both .* PEM form") as caught:
            _publish(url, replace(site.files, **{key: path}))
        assert "the secret" not in str(caught.value)


def test_a_key_of_another_certificate_is_said(site: Site) -> None:
    """Before anything is connected."""
    other = site.ours.issue("other-key")

    with pytest.raises(SettingsError, match=r"bus\.key .*other-key\.key is not the key of bus\.certificate"):
        _publish(site.broker.tls_url_of(OURS), replace(site.files, key=other.key))


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(site: Site) -> None:
    """A daemon has no terminal; a person at one must not be asked either."""
    closed = site.ours.issue("closed", passphrase="abcdef")

    with pytest.raises(SettingsError, match=r"cannot be used; .* the key without a passphrase"):
        _publish(site.broker.tls_url_of(OURS), site.ours.files(closed))


@pytest.mark.parametrize("account", [OURS, f"{USER}:", USER], ids=["password", "certificate", "certificate, no colon"])
def test_what_is_published_over_tls_is_consumed_over_tls(site: Site, account: str) -> None:
    """By all who connect: topology, publisher, consumer."""
    url, queue = site.broker.tls_url_of(account), f"{QUEUE}-{uuid4()}"
    topology.declare(url, EXCHANGE, queue, ["#"], files=site.files)
    _publish(url, site.files)
    batch = _first(url, queue, site.files)

    assert [one.topic for one in batch.deliveries] == [_complete().topic]


def test_a_vhost_with_a_slash_is_reached_as_fedoras_is(site: Site) -> None:
    """`amqps://fedora:@rabbitmq.fedoraproject.org/%2Fpublic_pubsub`: no password, a certificate, that vhost."""
    url = site.broker.tls_url_of(f"{USER}:", vhost="%2Fpublic_pubsub")
    topology.declare(url, EXCHANGE, QUEUE, ["#"], files=site.files)
    parameters = pika.URLParameters(site.broker.url)
    parameters.virtual_host = FEDORA_VHOST
    with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
        declared = connection.channel().queue_declare(QUEUE, passive=True)

    assert declared.method.queue == QUEUE


def test_a_renewed_certificate_is_used(site: Site, tmp_path: Path) -> None:
    """Files are read with each connection: no restart is needed."""
    mine = TlsFiles(site.ours.file, tmp_path / "mine.pem", tmp_path / "mine.key")
    out_of_date = site.ours.issue("out-of-date", expired=True)
    with Publisher(site.broker.tls_url_of(OURS), EXCHANGE, files=mine) as publisher:
        for issued, ends in ((out_of_date, BusUnreachable), (site.client, None)):
            _put(issued, mine)
            with pytest.raises(ends) if ends else contextlib.nullcontext():
                publisher.publish(_complete())


def _put(issued: Issued, files: TlsFiles) -> None:
    for source, target in ((issued.certificate, files.certificate), (issued.key, files.key)):
        if target is not None:
            target.write_bytes(source.read_bytes())


def test_tls_is_1_2_or_newer_and_always_verified() -> None:
    """Whatever the machine's defaults are."""
    context = tls.context(TlsFiles(), encrypted=True)

    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_causes_that_go_round_in_a_circle_end() -> None:
    """One error may be raised for everyone who waits."""
    first, second = ConnectionResetError("first"), ConnectionResetError("second")
    first.__context__, second.__context__ = second, first

    assert tls.failure(first) is None
