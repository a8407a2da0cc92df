"""The sections of pipeline.toml. A field's description is what docs/settings.md says of the key."""

import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator

from ci_pipeline.bus import patterns
from ci_pipeline.bus.tls import TlsFiles
from ci_pipeline.change import Name, Namespace


def _without_account(value: str) -> str:
    parts = urlsplit(value)
    if "@" in parts.netloc and not (parts.scheme == "ssh" and parts.password is None):
        msg = "must hold no account: others read it in requests, logs and process listings; use ssh:// and a key"
        raise ValueError(msg)
    return value


def _well_quoted(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    # What is wrong is not said: a part of the password would be taken for the host, and be told to everybody.
    if text.count("@") > (urlsplit(text).netloc.count("@") == 1):
        msg = "has a character in its password that must be quoted: @ as %40, / as %2F, # as %23, ? as %3F"
        raise ValueError(msg)
    return value


def _clone_scheme(value: str) -> str:
    if not re.match(r"^(https?|ssh|git|file)://", value):
        msg = "must start with https://, http://, ssh://, git:// or file://"
        raise ValueError(msg)
    return value.rstrip("/")


CloneUrl = Annotated[str, AfterValidator(_clone_scheme), AfterValidator(_without_account)]
# The address of a server, or a path.
Place = Annotated[str, AfterValidator(_without_account)]
SecretUrl = Annotated[SecretStr, AfterValidator(_well_quoted)]
Topic = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
BindingKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_*#-]+(\.[A-Za-z0-9_*#-]+)*$")]


def _compiles(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        msg = f"is no regular expression: {error}"
        raise ValueError(msg) from error
    return value


def _no_path(value: str) -> str:
    if value.endswith(".cfg"):
        msg = "must be the name of a configuration in /etc/mock, without .cfg"
        raise ValueError(msg)
    return value


Expression = Annotated[str, AfterValidator(_compiles), StringConstraints(min_length=1, max_length=1000)]
Arch = Literal["x86_64", "aarch64"]
# mock takes what ends in .cfg for a path.
MockConfig = Annotated[Name, AfterValidator(_no_path)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\s]([^\r\n]*[^\s])?$", max_length=100)]


def _web_url(value: str) -> str:
    if not re.search(patterns.URL, value):
        msg = "is no http:// or https:// address without a user; write other characters than ASCII's as %XX"
        raise ValueError(msg)
    return value


def _email(value: str) -> str:
    if not re.search(patterns.EMAIL, value):
        msg = "is no mail address: ci@lists.example.org"
        raise ValueError(msg)
    return value


WebUrl = Annotated[str, AfterValidator(_web_url), StringConstraints(max_length=1000)]
Email = Annotated[str, AfterValidator(_email), StringConstraints(max_length=254)]
TrackerUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=1000)]


class Section(BaseModel):
    """A section: no other keys than its own, and nobody changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bus(Section):
    """The message bus."""

    url: SecretUrl = Field(SecretStr("amqp://127.0.0.1:5672/%2F"), description="AMQP URL of the broker")
    ca: Path | None = Field(None, description="file with the CA certificates to trust; default: the public ones")
    certificate: Path | None = Field(None, description="file with our certificate, which the broker may ask for")
    key: Path | None = Field(None, description="file with its private key, without a passphrase")
    exchange: str = Field("amq.topic", description="topic exchange that carries what comes in and what goes out")
    queue: str = Field("ci-pipeline", description="our durable queue")
    bindings: list[BindingKey] = Field(
        ["*.*.*.git.receive", "#.pagure.git.receive", "#.forgejo.push"],
        description="topics the queue is bound to",
    )
    senders: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        [], description="broker accounts whose messages are taken up, by the property user_id; empty: everyone's"
    )
    topic_prefix: Topic = Field("org.centos.prod", description="topics we publish start with this")
    prefetch: int = Field(1000, ge=1, le=5000, description="messages held unacknowledged at most")
    publish_timeout: float = Field(15, gt=0, description="seconds to wait for the broker's confirm")

    @property
    def files(self) -> TlsFiles:
        """The certificates, as those take them who connect."""
        return TlsFiles(self.ca, self.certificate, self.key)


class Contact(Section):
    """Whom to ask about a message, as every fedora-ci message says."""

    name: Line = Field("CI-Pipeline", description="name of this CI system")
    team: Line = Field("CI-Pipeline", description="who runs it")
    url: WebUrl = Field("https://github.com/CentOS-PaaS-SIG/ci-pipeline", description="its page")
    docs: WebUrl = Field(
        "https://github.com/CentOS-PaaS-SIG/ci-pipeline/blob/master/README.md", description="its documentation"
    )
    email: Email = Field("ci@lists.fedoraproject.org", description="mail address that a human reads")


class Contracts(Section):
    """In which forms an event is published."""

    ci_pipeline: bool = Field(default=True, description="publish on the pipeline's own topics")
    fedora_ci: bool = Field(default=False, description="publish as fedora-ci messages, too")
    contact: Contact = Field(default_factory=Contact)


class Database(Section):
    """Our own database (not Airflow's)."""

    url: SecretUrl = Field(
        SecretStr("postgresql+psycopg2:///ci_pipeline"),
        description="SQLAlchemy URL of a PostgreSQL database",
    )
    patience_seconds: float = Field(600, ge=0, description="how long a task waits for a database that is away")


class Artifacts(Section):
    """Where RPMs, composes and images are kept, and the address they are served at."""

    folder: Path = Field(Path(".ci-pipeline/artifacts"), description="folder; relative to the project")
    url: Place = Field("http://127.0.0.1:8000", description="its public address")


class DistGit(Section):
    """Where packages live."""

    url: CloneUrl = Field("https://src.fedoraproject.org", description="clones come from URL/NAMESPACE/REPO.git")
    lookaside: Place = Field("", description="look-aside cache: an http(s) or file URL; empty: none")
    catch_up: bool = Field(
        default=True,
        description="look for pushes nobody heard of when listening begins, and after the bus was away",
    )


class Airflow(Section):
    """Airflow's REST API, by which changes are fired."""

    url: Place = Field("http://127.0.0.1:8080", description="base URL of the api-server")
    internal_url: Place = Field("", description="base URL the pipeline itself calls it by, if another; empty: url")
    username: str = Field("admin", description="account that may trigger DAGs")
    password: SecretStr = Field(SecretStr(""), description="its password; from the environment only")
    logs: Annotated[str, StringConstraints(pattern=r"^(/.*)?$")] = Field(
        "",
        description="absolute path of its task logs; empty: they are not ours to tidy up",
    )


class Packages(Section):
    """Which packages are watched."""

    namespaces: list[Namespace] = Field(["rpms"], description="dist-git namespaces that are watched")
    monitored: list[Name] = Field([], description="names of the watched packages: those the host is made of")

    @cached_property
    def names(self) -> frozenset[str]:
        """The watched packages, to look one up among hundreds for each of very many messages."""
        return frozenset(self.monitored)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, which finds out for itself what is made of its fields."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("names", None)
        return copied


class Package(Section):
    """What is particular to one watched package."""

    gating: bool = Field(default=True, description="failing functional tests stop the run; false: only reported")
    install: list[Name] | None = Field(None, description="binary packages that go on the host; default: its name")


class Branch(Section):
    """A branch that has a pipeline."""

    release: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")] = Field(
        description="version prefix of composes: 26",
    )
    dist: Annotated[str, StringConstraints(pattern=r"^\.[A-Za-z0-9_]+$")] = Field(description="dist tag: .fc26")
    arch: Arch | None = Field(None, description="architecture of its hosts; default: arch")
    dist_git_branch: Name | None = Field(
        None, description="branch of dist-git whose pushes it builds; default: its own name"
    )
    mock_config: MockConfig | None = Field(
        None, description="toolchain fedora: name of mock's configuration; default: fedora-RELEASE-ARCH"
    )
    koji_target: Name | None = Field(
        None, description="toolchain fedora: target of scratch builds; default: fRELEASE, or rawhide"
    )


class Mock(Section):
    """How mock builds, on the toolchain fedora."""

    isolation: Literal["auto", "nspawn", "simple"] = Field(
        "auto", description="what keeps a build apart: systemd-nspawn, or a chroot alone (simple), as in a container"
    )


class Koji(Section):
    """Scratch builds in Koji, beside the builds of the toolchain fedora."""

    profile: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.+-]*)?$")] = Field(
        "", description="profile of koji's configuration on the builder; empty: no scratch builds"
    )
    decisive: bool = Field(
        default=False, description="a scratch build that fails fails the stage; false: it is reported"
    )
    wait_seconds: int = Field(
        1800, ge=0, description="how long it is waited for when our own build has ended; within limits.seconds"
    )


class Repo(Section):
    """A repository of the distribution, for rpm-ostree."""

    url: Annotated[Place, StringConstraints(pattern=r"^(https?|file)://[^\s]+$")] = Field(
        description="its baseurl; $releasever and $basearch are dnf's"
    )
    gpg_key: Annotated[str, StringConstraints(pattern=r"^(file:///[^\s]+)?$")] = Field(
        "", description="file:// URL of the key its packages are signed with; empty: signatures are not checked"
    )


class Compose(Section):
    """What the host consists of besides the watched packages."""

    packages: list[Name] = Field(["host-base"], description="packages of the base OS to install")
    base_repo: Place = Field("", description="repository of the base OS; empty: the toolchain makes its own")
    repos: dict[Name, Repo] = Field(
        {}, description="[compose.repos.NAME]: toolchain fedora: the repositories of the distribution"
    )
    treefile: Annotated[str, StringConstraints(pattern=r"^(/.*)?$")] = Field(
        "", description="toolchain fedora: absolute path of a treefile that the generated one includes; empty: none"
    )


class Image(Section):
    """When an image is generated."""

    builder: Literal["ostree", "image-builder"] | None = Field(
        None, description="who makes it: ostree and GRUB, or image-builder; default: by the toolchain"
    )
    type: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        "iot-qcow2", description="image-builder's type of image: one that takes an OSTree commit"
    )
    distro: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")] = Field(
        "", description="image-builder's name of the distribution; empty: fedora-RELEASE"
    )
    interval_hours: float = Field(24, ge=0, description="an image is due when the last good one is older; 0: always")


class Provenance(Section):
    """Who vouches for the images."""

    key: Annotated[str, StringConstraints(pattern=r"^(/.*)?$")] = Field(
        "", description="absolute path of the private key, in PEM form, that signs provenance; empty: there is none"
    )
    passphrase: SecretStr = Field(SecretStr(""), description="its passphrase; from the environment only")
    builder: Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9+.-]*:[^\s]+)?$")] = Field(
        "", description="URL by which downstreams know this pipeline; empty: airflow.url"
    )


class Reconciler(Section):
    """The DAG that closes gaps."""

    interval_seconds: int = Field(30, ge=5, le=3600, description="how often it looks")


class Retention(Section):
    """What is kept, and for how long. What is newest, referenced or going on stays, whatever these say."""

    run_days: float = Field(
        14,
        gt=0,
        le=36500,
        description="how long the files of a run stay after its end: workspaces, logs, and what it made",
    )
    builds: int = Field(3, ge=1, description="newest builds of every package and branch that stay longer than that")
    images: int = Field(3, ge=1, description="newest images of every branch that booted, which stay longer than that")
    commits: int = Field(20, ge=1, description="newest commits of every branch, which stay longer than that")
    housekeeping_hours: float = Field(
        24,
        ge=1,
        le=876000,
        description="how long Airflow keeps the runs of the DAGs that are not of a branch, and their logs",
    )


class Reruns(Section):
    """When failing functional and integration tests are run again, within the same try of their stage."""

    times: int = Field(1, ge=0, le=3, description="how often a failing test is run again at most; 0: never")
    most: int = Field(5, ge=1, description="if more tests than that fail, none is run again: that is no flake")


class Reuse(Section):
    """When what an earlier run made is taken, instead of making it of the same inputs again."""

    stages: list[Literal["build_package"]] = Field(
        ["build_package"], description="stages whose output may be reused; empty: none"
    )
    rebased: bool = Field(
        default=True,
        description="reuse the build of a commit that differs in nothing but its id (a rebase): it keeps its NVR",
    )


class Datahub(Section):
    """The read API of what came of every change."""

    anonymous: bool = Field(default=False, description="everyone may read the API; false: who may see the pages")


class Limits(Section):
    """What one stage may use."""

    seconds: int = Field(1800, ge=10, description="wall time of a stage")
    boot_seconds: int = Field(120, ge=5, description="time a host has to come up")
    memory_mb: int = Field(1024, ge=128, description="memory of a build, all its processes, or of a virtual machine")
    disk_mb: int = Field(4096, ge=64, description="files of a build, all together; also its largest file")
    processes: int = Field(512, ge=16, description="processes a build may have at a time, threads too")
    free_mb: int = Field(512, ge=1, description="space there must be on each disk a stage works on before it begins")


class StageSettings(Section):
    """How one stage is carried out."""

    executor: Literal["ansible", "jenkins"] = Field(
        "ansible", description="who runs the playbook: ansible-runner, or a Jenkins job"
    )
    toolchain: Literal["local", "fedora"] = Field("local", description="which tools the roles use")
    retries: int = Field(2, ge=0, le=10, description="tries after an infrastructure fault")
    limits: Limits | None = Field(None, description="limits of this stage; default: [limits]")


class ClusterStepSettings(StageSettings):
    """How a step of the cluster is carried out."""

    @field_validator("executor")
    @classmethod
    def _stays_on_the_builder(cls, executor: str) -> str:
        if executor != "ansible":
            msg = "the steps of the cluster leave machines and programs running on the builder: 'ansible' alone can be"
            raise ValueError(msg)
        return executor


class Stages(Section):
    """Per-stage settings."""

    build_package: StageSettings = Field(default_factory=StageSettings)
    functional_tests: StageSettings = Field(default_factory=StageSettings)
    compose_ostree: StageSettings = Field(default_factory=StageSettings)
    integration_tests: StageSettings = Field(default_factory=StageSettings)
    generate_image: StageSettings = Field(default_factory=StageSettings)
    smoke_test: StageSettings = Field(default_factory=StageSettings)
    provision_hosts: ClusterStepSettings = Field(default_factory=ClusterStepSettings)
    configure_cluster: ClusterStepSettings = Field(default_factory=ClusterStepSettings)
    await_cluster: ClusterStepSettings = Field(default_factory=ClusterStepSettings)
    conformance_tests: ClusterStepSettings = Field(default_factory=ClusterStepSettings)
    tear_down_cluster: ClusterStepSettings = Field(default_factory=ClusterStepSettings)


class Quarantine(Section):
    """A test that is known to fail, for a while: it is shown, and does not count."""

    test: Expression = Field(description="regular expression of the whole name of the test")
    branches: list[Name] = Field([], description="branches it fails on; empty: all")
    tracker: TrackerUrl = Field(description="URL of the bug: who reads of it has to find out more")
    until: date = Field(description="last day of the quarantine; a test that fails later fails, and that is said")
