"""The section [provision] of pipeline.toml: who lends the hosts that tests run on, and what it is asked for.

What a provider's own tools know already (AWS_*, OS_*, clouds.yaml, libvirt's and linch-pin's configuration) is theirs:
no secret of a cloud is ours to hold. Duffy has no tool that would.
"""

from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, model_validator

from ci_pipeline.sections import Place, Section

Account = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]
# A name or an id in somebody else's system: nothing that a tool would take for an option.
Word = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.:/()+ -]*)?$", max_length=200)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^(/.*)?$", max_length=1000)]


class Duffy(Section):
    """Provider duffy: a pool of CentOS CI."""

    url: Place = Field("https://duffy.ci.centos.org/api/v1", description="provider duffy: base URL of its API")
    pool: Word = Field("", description="provider duffy: pool the hosts come from, as `duffy client list-pools` has it")
    username: Word = Field("", description="provider duffy: name of our tenant")
    key: SecretStr = Field(SecretStr(""), description="provider duffy: the tenant's API key; from the environment only")
    identity: AbsolutePath = Field(
        "", description="provider duffy: path of the private SSH key that Duffy lets in; empty: the account's own"
    )


class Aws(Section):
    """Provider aws: instances of EC2."""

    region: Word = Field("", description="provider aws: region")
    image: Word = Field("", description="provider aws: AMI of the hosts")
    instance_type: Word = Field("t3.small", description="provider aws: type of the instances")
    subnet: Word = Field("", description="provider aws: subnet; empty: the region's default")
    security_group: Word = Field("", description="provider aws: security group that lets our SSH in")
    user: Account = Field("fedora", description="provider aws: account of the image that may use sudo")
    endpoint: Place = Field("", description="provider aws: URL of the API; empty: Amazon's")


class Openstack(Section):
    """Provider openstack: servers of a cloud."""

    cloud: Word = Field("", description="provider openstack: name of the cloud in clouds.yaml; empty: OS_* alone")
    image: Word = Field("", description="provider openstack: image of the hosts")
    flavor: Word = Field("m1.small", description="provider openstack: flavor of the hosts")
    network: Word = Field("", description="provider openstack: network of the hosts")
    security_group: Word = Field(
        "", description="provider openstack: security group that lets our SSH in; empty: the project's default"
    )
    user: Account = Field("fedora", description="provider openstack: account of the image that may use sudo")


class Libvirt(Section):
    """Provider libvirt: virtual machines of a libvirt, which boot what is composed."""

    uri: Place = Field("qemu:///system", description="provider libvirt: connection URI")
    network: Word = Field("default", description="provider libvirt: network of the hosts")
    memory_mb: int = Field(2048, ge=256, description="provider libvirt: memory of each host")


class Linchpin(Section):
    """Provider linchpin: whatever a PinFile describes."""

    program: str = Field("linchpin", description="provider linchpin: path or name of the program")
    pinfile: AbsolutePath = Field("", description="provider linchpin: absolute path of the PinFile")
    target: Word = Field("", description="provider linchpin: target of the PinFile")
    user: Account = Field("root", description="provider linchpin: account of the hosts")


# They boot what is composed; a host of the others runs something else, and is put on it.
_BOOTING: Final = ("qemu", "libvirt")
# What a provider cannot do without.
_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "duffy": ("url", "pool", "username", "key"),
    "aws": ("region", "image"),
    "openstack": ("image", "network"),
    "linchpin": ("pinfile", "target"),
}


class Provision(Section):
    """Who lends the hosts that tests run on."""

    provider: Literal["qemu", "duffy", "libvirt", "linchpin", "aws", "openstack"] = Field(
        "qemu", description="who lends them: docs/provisioning.md"
    )
    hours: float = Field(6, gt=0, le=168, description="how long a host is lent at most")
    patience_seconds: float = Field(
        1200, ge=0, le=86400, description="how long hosts are waited for, where none is free or they have yet to boot"
    )
    duffy: Duffy = Field(default_factory=Duffy)
    aws: Aws = Field(default_factory=Aws)
    openstack: Openstack = Field(default_factory=Openstack)
    libvirt: Libvirt = Field(default_factory=Libvirt)
    linchpin: Linchpin = Field(default_factory=Linchpin)

    @model_validator(mode="after")
    def _is_whole(self) -> "Provision":
        chosen: Any = getattr(self, self.provider, None)
        if missing := [name for name in _NEEDS.get(self.provider, ()) if not _told(getattr(chosen, name))]:
            named = ", ".join(f"provision.{self.provider}.{name}" for name in missing)
            msg = f'provider = "{self.provider}" needs {named}'
            raise ValueError(msg)
        return self

    @property
    def boots_what_is_composed(self) -> bool:
        """Whether the hosts boot a disk of ours; the others are put on the compose over SSH."""
        return self.provider in _BOOTING

    @property
    def is_of_this_machine(self) -> bool:
        """Whether the hosts run on the machine that lends them, and are known there alone."""
        return self.provider == "qemu" or (self.provider == "libvirt" and not urlsplit(self.libvirt.uri).netloc)

    def told_to(self, provider: str) -> dict[str, Any]:
        """Return what a playbook is told: the section without secrets, and of the providers only that one."""
        common = {"provider": provider, "hours": self.hours, "patience_seconds": self.patience_seconds}
        chosen: Section | None = getattr(self, provider, None)
        return common | ({provider: chosen.model_dump(exclude={"key"})} if chosen else {})


def _told(value: Any) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)
