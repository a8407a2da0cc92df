"""A stand-in for an OpenStack: of Keystone, Nova, Neutron and Glance what openstacksdk asks for our role, on loopback.

It knows one project with one account. Its servers are rows in a dictionary: they boot nothing. What it is asked and
does not know is a 404 and is kept in `unknown`, so that a test notices.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import re
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = tuple[int, dict[str, Any] | None]

USER: Final = "us"
PROJECT: Final = "0" * 31 + "1"
IMAGE: Final = {"id": "i" * 8, "name": "atomic-26", "status": "active", "visibility": "public"}
FLAVOR: Final = {"id": "2", "name": "m1.small", "ram": 2048, "vcpus": 1, "disk": 20, "links": []}
INSIDE: Final = {
    "id": "n-inside",
    "name": "inside",
    "router:external": False,
    "subnets": ["s-inside"],
    "status": "ACTIVE",
}
OUTSIDE: Final = {"id": "n-out", "name": "outside", "router:external": True, "subnets": ["s-out"], "status": "ACTIVE"}
SUBNETS: Final = [
    {"id": "s-inside", "network_id": "n-inside", "ip_version": 4, "gateway_ip": "10.1.0.1", "cidr": "10.1.0.0/24"},
    {"id": "s-out", "network_id": "n-out", "ip_version": 4, "gateway_ip": "192.0.2.1", "cidr": "192.0.2.0/24"},
]
GROUP: Final = {"id": "g-default", "name": "default", "security_group_rules": []}


class Cloud:
    """What there is in the project, and how the cloud is.

    Attributes:
        servers: by id, as Nova has them.
        keys: public keys by the name of their key pair.
        floating: floating addresses by id.
        quota: servers there may be.
        broken: whether a new server ends up in ERROR.
        password: what it accepts.
        unknown: what it was asked and does not know.
    """

    def __init__(self) -> None:
        self.servers: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.floating: dict[str, dict[str, Any]] = {}
        self.quota, self.broken, self.password = 10, False, "of-the-account"
        self.unknown: list[str] = []
        self.url = ""
        self._numbers = itertools.count(1)

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Answer a request, as far as it is known."""
        for pattern, of_method, what in ROUTES:
            if of_method == method and (found := re.fullmatch(pattern, path)):
                return what(self, *found.groups(), query=query, body=body)
        self.unknown.append(f"{method} {path}")
        return missing(path)

    # Keystone

    def versions(self, **_: Any) -> Answer:
        return 300, {"versions": {"values": [self._identity()]}}

    def identity(self, **_: Any) -> Answer:
        return 200, {"version": self._identity()}

    def token(self, *, body: dict[str, Any], **_: Any) -> Answer:
        given = body["auth"]["identity"].get("password", {}).get("user", {})
        if (given.get("name"), given.get("password")) != (USER, self.password):
            said = "The request you have made requires authentication."
            return 401, {"error": {"code": 401, "title": "Unauthorized", "message": said}}
        services = {"identity": "/identity/v3", "compute": "/compute/v2.1", "network": "/network", "image": "/image"}
        catalog = [
            {"type": kind, "name": kind, "id": kind, "endpoints": [_endpoint(kind, self.url + path)]}
            for kind, path in services.items()
        ]
        project = {"id": PROJECT, "name": "ci", "domain": {"id": "default", "name": "Default"}}
        user = {"id": "u", "name": USER, "domain": {"id": "default", "name": "Default"}}
        told = {"methods": ["password"], "project": project, "user": user, "catalog": catalog, "roles": []}
        return 201, {"token": told | {"issued_at": "2026-01-01T00:00:00Z", "expires_at": "2099-01-01T00:00:00Z"}}

    # Nova

    def compute(self, **_: Any) -> Answer:
        links = [{"rel": "self", "href": f"{self.url}/compute/v2.1/"}]
        return 200, {
            "version": {"id": "v2.1", "status": "CURRENT", "version": "2.90", "min_version": "2.1", "links": links}
        }

    def flavor(self, wanted: str, **_: Any) -> Answer:
        return (200, {"flavor": FLAVOR}) if wanted == FLAVOR["id"] else missing(f"Flavor {wanted}")

    def flavors(self, **_: Any) -> Answer:
        return 200, {"flavors": [FLAVOR]}

    def key(self, name: str, **_: Any) -> Answer:
        if name not in self.keys:
            return missing(f"Keypair {name}")
        return 200, {"keypair": {"name": name, "public_key": self.keys[name], "id": 1}}

    def import_key(self, *, body: dict[str, Any], **_: Any) -> Answer:
        asked = body["keypair"]
        self.keys[asked["name"]] = asked["public_key"]
        return 201, {"keypair": asked | {"id": 1}}

    def list_keys(self, **_: Any) -> Answer:
        return 200, {"keypairs": [{"keypair": {"name": one}} for one in self.keys]}

    def delete_key(self, name: str, **_: Any) -> Answer:
        return (202, None) if self.keys.pop(name, None) else missing(f"Keypair {name}")

    def list_servers(self, *, query: dict[str, str], **_: Any) -> Answer:
        named = [one for one in self.servers.values() if re.search(query.get("name", ""), one["name"])]
        return 200, {"servers": named}

    def server(self, wanted: str, **_: Any) -> Answer:
        return (200, {"server": self.servers[wanted]}) if wanted in self.servers else missing(f"Instance {wanted}")

    def boot(self, *, body: dict[str, Any], **_: Any) -> Answer:
        asked, number = body["server"], next(self._numbers)
        if len(self.servers) >= self.quota:
            said = "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances"
            return 403, {"forbidden": {"code": 403, "message": said}}
        # Neutron gives a server the project's default group when none is asked for, also by an empty list.
        groups = asked.get("security_groups") or [{"name": "default"}]
        if unknown := [group["name"] for group in groups if group["name"] != "default"]:
            said = f"Security group {unknown[0]} not found for project {PROJECT}."
            return 400, {"badRequest": {"code": 400, "message": said}}
        address = {"addr": f"10.1.0.{number + 10}", "version": 4, "OS-EXT-IPS:type": "fixed"}
        server = {
            "id": f"server-{number}",
            "name": asked["name"],
            "status": "ERROR" if self.broken else "ACTIVE",
            "metadata": asked["metadata"],
            "key_name": asked["key_name"],
            "addresses": {} if self.broken else {"inside": [address]},
            "security_groups": groups,
            "flavor": {"original_name": "m1.small"},
            "image": {"id": IMAGE["id"]},
            "tags": [],
            "tenant_id": PROJECT,
        }
        if self.broken:
            server["fault"] = {"code": 500, "message": "No valid host was found. There are not enough hosts available."}
        self.servers[server["id"]] = server
        return 202, {"server": {"id": server["id"], "links": []}}

    def delete(self, wanted: str, **_: Any) -> Answer:
        return (204, None) if self.servers.pop(wanted, None) else missing(f"Instance {wanted}")

    def groups_of(self, wanted: str, **_: Any) -> Answer:
        return 200, {"security_groups": [GROUP] if self.servers[wanted]["security_groups"] else []}

    def act(self, wanted: str, *, body: dict[str, Any], **_: Any) -> Answer:
        if "removeSecurityGroup" in body:
            self.servers[wanted]["security_groups"] = []
        return 202, None

    # Glance and Neutron

    def image_versions(self, **_: Any) -> Answer:
        links = [{"rel": "self", "href": f"{self.url}/image/v2/"}]
        return 300, {"versions": [{"id": "v2.9", "status": "CURRENT", "links": links}]}

    def image(self, wanted: str, **_: Any) -> Answer:
        return (200, dict(IMAGE)) if wanted == IMAGE["id"] else missing(f"No image found with ID {wanted}")

    def images(self, *, query: dict[str, str], **_: Any) -> Answer:
        return 200, {"images": [IMAGE] if query.get("name", IMAGE["name"]) == IMAGE["name"] else []}

    def network_versions(self, **_: Any) -> Answer:
        links = [{"rel": "self", "href": f"{self.url}/network/v2.0/"}]
        return 200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}

    def network(self, wanted: str, **_: Any) -> Answer:
        found = next((one for one in (INSIDE, OUTSIDE) if one["id"] == wanted), None)
        return (200, {"network": found}) if found else missing(f"Network {wanted} could not be found.")

    def networks(self, *, query: dict[str, str], **_: Any) -> Answer:
        return 200, {"networks": [one for one in (INSIDE, OUTSIDE) if query.get("name", one["name"]) == one["name"]]}

    def subnets(self, **_: Any) -> Answer:
        return 200, {"subnets": SUBNETS}

    def group(self, wanted: str, **_: Any) -> Answer:
        return (200, {"security_group": GROUP}) if wanted == GROUP["id"] else missing(f"Security group {wanted}")

    def groups(self, *, query: dict[str, str], **_: Any) -> Answer:
        return 200, {"security_groups": [GROUP] if query.get("name", "default") == "default" else []}

    def ports(self, *, query: dict[str, str], **_: Any) -> Answer:
        found = [_port(one) for one in self.servers.values() if query.get("device_id", one["id"]) == one["id"]]
        return 200, {"ports": found}

    def list_floating(self, *, query: dict[str, str], **_: Any) -> Answer:
        keys = ("floating_ip_address", "port_id", "status")
        asked = {key: query[key] for key in keys if key in query}
        return 200, {"floatingips": [one for one in self.floating.values() if asked.items() <= one.items()]}

    def one_floating(self, wanted: str, **_: Any) -> Answer:
        found = self.floating.get(wanted)
        return (200, {"floatingip": found}) if found else missing(f"Floating IP {wanted}")

    def allocate(self, *, body: dict[str, Any], **_: Any) -> Answer:
        asked, number = body["floatingip"], next(self._numbers)
        one = {
            "id": f"f-{number}",
            "floating_ip_address": f"192.0.2.{number + 100}",
            "floating_network_id": asked["floating_network_id"],
            "port_id": asked.get("port_id"),
            "fixed_ip_address": asked.get("fixed_ip_address"),
            "status": "ACTIVE",
            "project_id": PROJECT,
            "router_id": "r",
        }
        self.floating[one["id"]] = one
        server = self.servers.get(str(one["port_id"]).removeprefix("port-of-"))
        if server:
            address = {"addr": one["floating_ip_address"], "version": 4, "OS-EXT-IPS:type": "floating"}
            server["addresses"]["inside"].append(address)
        return 201, {"floatingip": one}

    def release(self, wanted: str, **_: Any) -> Answer:
        return (204, None) if self.floating.pop(wanted, None) else missing(f"Floating IP {wanted}")

    def extensions(self, **_: Any) -> Answer:
        return 200, {"extensions": [{"alias": "router", "name": "router"}]}

    def _identity(self) -> dict[str, Any]:
        links = [{"rel": "self", "href": f"{self.url}/identity/v3/"}]
        return {"id": "v3.14", "status": "stable", "links": links}


# Methods and paths, and who answers them.
ROUTES: Final[tuple[tuple[str, str, Callable[..., Answer]], ...]] = (
    (r"/identity/?", "GET", Cloud.versions),
    (r"/identity/v3/?", "GET", Cloud.identity),
    (r"/identity/v3/auth/tokens", "POST", Cloud.token),
    (r"/compute/v2\.1/?", "GET", Cloud.compute),
    (r"/compute/v2\.1/flavors/detail", "GET", Cloud.flavors),
    (r"/compute/v2\.1/flavors/([^/]+)", "GET", Cloud.flavor),
    (r"/compute/v2\.1/flavors", "GET", Cloud.flavors),
    (r"/compute/v2\.1/os-keypairs", "GET", Cloud.list_keys),
    (r"/compute/v2\.1/os-keypairs", "POST", Cloud.import_key),
    (r"/compute/v2\.1/os-keypairs/([^/]+)", "GET", Cloud.key),
    (r"/compute/v2\.1/os-keypairs/([^/]+)", "DELETE", Cloud.delete_key),
    (r"/compute/v2\.1/servers(?:/detail)?", "GET", Cloud.list_servers),
    (r"/compute/v2\.1/servers", "POST", Cloud.boot),
    (r"/compute/v2\.1/servers/([^/]+)", "GET", Cloud.server),
    (r"/compute/v2\.1/servers/([^/]+)", "DELETE", Cloud.delete),
    (r"/compute/v2\.1/servers/([^/]+)/os-security-groups", "GET", Cloud.groups_of),
    (r"/compute/v2\.1/servers/([^/]+)/action", "POST", Cloud.act),
    (r"/image/?", "GET", Cloud.image_versions),
    (r"/image/v2/images/([^/]+)", "GET", Cloud.image),
    (r"/image/v2/images", "GET", Cloud.images),
    (r"/network/?", "GET", Cloud.network_versions),
    (r"/network/v2\.0/extensions", "GET", Cloud.extensions),
    (r"/network/v2\.0/networks/([^/]+)", "GET", Cloud.network),
    (r"/network/v2\.0/networks", "GET", Cloud.networks),
    (r"/network/v2\.0/subnets", "GET", Cloud.subnets),
    (r"/network/v2\.0/ports", "GET", Cloud.ports),
    (r"/network/v2\.0/security-groups/([^/]+)", "GET", Cloud.group),
    (r"/network/v2\.0/security-groups", "GET", Cloud.groups),
    (r"/network/v2\.0/floatingips/([^/]+)", "GET", Cloud.one_floating),
    (r"/network/v2\.0/floatingips/([^/]+)", "DELETE", Cloud.release),
    (r"/network/v2\.0/floatingips", "GET", Cloud.list_floating),
    (r"/network/v2\.0/floatingips", "POST", Cloud.allocate),
)


def missing(what: str) -> Answer:
    """Return what is answered of something that is not there."""
    return 404, {"itemNotFound": {"code": 404, "message": f"{what} could not be found."}}


@contextlib.contextmanager
def running() -> Iterator[Cloud]:
    """Have a cloud for the block; its Keystone is at `url`/identity."""
    cloud = Cloud()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"

        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def do_DELETE(self) -> None:
            self._do()

        def _do(self) -> None:
            place = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            query = {key: values[0] for key, values in parse_qs(place.query).items()}
            status, told = cloud.answer(self.command, place.path, query, body)
            content = json.dumps(told).encode() if told is not None else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Subject-Token", "token-of-the-project")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cloud.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield cloud
        server.shutdown()
        thread.join()


def _endpoint(kind: str, url: str) -> dict[str, str]:
    return {"id": kind, "interface": "public", "region": "R", "region_id": "R", "url": url}


def _port(server: dict[str, Any]) -> dict[str, Any]:
    fixed = [{"subnet_id": "s-inside", "ip_address": one["addr"]} for one in server["addresses"].get("inside", [])[:1]]
    place = {"id": f"port-of-{server['id']}", "device_id": server["id"], "network_id": "n-inside"}
    return place | {"fixed_ips": fixed, "status": "ACTIVE", "tenant_id": PROJECT}
