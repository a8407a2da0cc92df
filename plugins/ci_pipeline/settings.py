"""All settings, in one typed model: `pipeline.toml`, overridden by the environment.

Sources, the strongest first: environment variables `CI_PIPELINE_*` (nested keys joined by `__`:
`CI_PIPELINE_BUS__URL`), the local stack's `stack.env`, `pipeline.toml`, the defaults below. An unknown key or a
wrong value is a SettingsError that names the key and what is allowed. docs/settings.md lists every key.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, get_args, get_origin

from dotenv import dotenv_values
from pydantic import BaseModel, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableVariable

from ci_pipeline import known_secrets, redaction
from ci_pipeline.builder_sections import Builders
from ci_pipeline.change import Name
from ci_pipeline.conformance_sections import INSTALLED, Conformance
from ci_pipeline.errors import SettingsError
from ci_pipeline.gating_sections import Policies
from ci_pipeline.jenkins_sections import Jenkins
from ci_pipeline.provision_sections import Provision
from ci_pipeline.sections import (
    Airflow,
    Arch,
    Artifacts,
    Branch,
    Bus,
    Compose,
    Contracts,
    Database,
    Datahub,
    DistGit,
    Image,
    Koji,
    Limits,
    Mock,
    Package,
    Packages,
    Provenance,
    Quarantine,
    Reconciler,
    Reruns,
    Retention,
    Reuse,
    Stages,
    StageSettings,
)
from ci_pipeline.sink_sections import KINDS, AnySink, Delivery, SinkSettings
from ci_pipeline.stages import PROVISION_HOSTS, STEPS
from ci_pipeline.storm_sections import Storm

CONFIG_VARIABLE: Final = "CI_PIPELINE_CONFIG"
STATE_VARIABLE: Final = "CI_PIPELINE_STATE"
PROJECT_VARIABLE: Final = "CI_PIPELINE_PROJECT"
ENV_FILE_VARIABLE: Final = "CI_PIPELINE_ENV_FILE"
STACK_ENV: Final = "stack.env"
# Keys of a sink that name an environment variable with a secret.
_SECRETS_OF_SINKS: Final = ("password_env", "token_env", "secret_env")


class Settings(BaseSettings):
    """The whole configuration. Build it with `load()`, which gives readable errors."""

    model_config = SettingsConfigDict(
        env_prefix="CI_PIPELINE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    bus: Bus = Field(default_factory=Bus)
    contracts: Contracts = Field(default_factory=Contracts)
    database: Database = Field(default_factory=Database)
    artifacts: Artifacts = Field(default_factory=Artifacts)
    dist_git: DistGit = Field(default_factory=DistGit)
    airflow: Airflow = Field(default_factory=Airflow)
    packages: Packages = Field(default_factory=Packages)
    package: dict[Name, Package] = Field({}, description="[package.NAME]: what is particular to one package")
    branches: dict[Name, Branch] = Field({}, description="[branches.NAME]: the branches that have a pipeline")
    compose: Compose = Field(default_factory=Compose)
    image: Image = Field(default_factory=Image)
    conformance: Conformance = Field(default_factory=Conformance)
    provenance: Provenance = Field(default_factory=Provenance)
    reconciler: Reconciler = Field(default_factory=Reconciler)
    storm: Storm = Field(default_factory=Storm)
    retention: Retention = Field(default_factory=Retention)
    quarantine: list[Quarantine] = Field([], description="[[quarantine]]: tests that are known to fail, for a while")
    reruns: Reruns = Field(default_factory=Reruns)
    reuse: Reuse = Field(default_factory=Reuse)
    sinks: list[AnySink] = Field([], description="[[sinks]]: downstream datahubs")
    delivery: Delivery = Field(default_factory=Delivery)
    policies: Policies = Field(
        [], description="[[policies]]: what must have passed before something downstream may go on"
    )
    datahub: Datahub = Field(default_factory=Datahub)
    limits: Limits = Field(default_factory=Limits)
    jenkins: Jenkins = Field(default_factory=Jenkins)
    stages: Stages = Field(default_factory=Stages)
    builders: Builders = Field(default_factory=Builders)
    mock: Mock = Field(default_factory=Mock)
    koji: Koji = Field(default_factory=Koji)
    provision: Provision = Field(default_factory=Provision)
    arch: Arch = Field("x86_64", description="architecture of the hosts, of branches that name no other")
    state: Path = Field(Path(".ci-pipeline"), description="folder of run workspaces and of the local stack")

    @model_validator(mode="after")
    def _refs_differ(self) -> Self:
        refs = [self.ref_of(name) for name in self.branches]
        if twice := sorted({ref for ref in refs if refs.count(ref) > 1}):
            msg = f"branches: two of them compose {', '.join(twice)}; give them different arch or dist_git_branch"
            raise ValueError(msg)
        return self

    @field_validator("sinks")
    @classmethod
    def _names_differ(cls, sinks: list[SinkSettings]) -> list[SinkSettings]:
        names = [sink.name for sink in sinks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"each needs a name of its own; used twice: {', '.join(twice)}"
            raise ValueError(msg)
        return sinks

    @field_validator("provision")
    @classmethod
    def _has_hosts_for_every_stage(cls, provision: Provision, info: ValidationInfo) -> Provision:
        stages = info.data.get("stages")
        if provision.provider == "qemu" or stages is None:
            return provision
        if stages.integration_tests.executor == "jenkins":
            msg = 'stages.integration_tests.executor = "jenkins" boots its host itself: it needs provider = "qemu"'
            raise ValueError(msg)
        return provision

    @model_validator(mode="after")
    def _lends_as_long_as_a_cluster_lasts(self) -> Self:
        if self.provision.provider == "qemu" or self.conformance.cluster not in INSTALLED:
            return self
        needed = sum(self.stage_limits(step.name).seconds for step in STEPS[PROVISION_HOSTS.event]) / 3600
        if needed > self.provision.hours:
            msg = (
                f"provision.hours = {self.provision.hours:g} is less than the steps of the cluster may take together, "
                f"{needed:.1f} (limits.seconds): its hosts would be returned under it"
            )
            raise ValueError(msg)
        return self

    def is_watched(self, namespace: str, repo: str) -> bool:
        """Tell whether pushes to a package get a run."""
        return namespace in self.packages.namespaces and repo in self.packages.names

    def package_of(self, repo: str) -> Package:
        """Return what is particular to a package, the defaults if nothing is."""
        return self.package.get(repo) or Package()

    def installed_by(self, repo: str) -> list[str]:
        """Return the binary packages of `repo` that belong on the host."""
        install = self.package_of(repo).install
        return [repo] if install is None else list(install)

    def ref_of(self, branch: str) -> str:
        """Return the OSTree ref of a branch: `fedora/f26/x86_64/atomic-host`."""
        return f"fedora/{self.dist_git_branch_of(branch)}/{self.arch_of(branch)}/atomic-host"

    def arch_of(self, branch: str) -> Arch:
        """Return the architecture of a branch's hosts."""
        found = self.branches.get(branch)
        return (found.arch if found else None) or self.arch

    def dist_git_branch_of(self, branch: str) -> str:
        """Return the branch of dist-git that a branch of the pipeline builds; its own name, as a rule."""
        found = self.branches.get(branch)
        return (found.dist_git_branch if found else None) or branch

    def built_from(self, dist_git_branch: str) -> list[str]:
        """Return the branches of the pipeline that build a branch of dist-git, the one of its own name first."""
        found = [name for name in self.branches if self.dist_git_branch_of(name) == dist_git_branch]
        return sorted(found, key=lambda name: name != dist_git_branch)

    def product_of(self, branch: str) -> str:
        """Return what those who ask for decisions call a branch: `fedora-26` for f26; "" without a pipeline.

        One that builds another branch of dist-git has a product of its own: `fedora-26-aarch64`.
        """
        if branch not in self.branches:
            return ""
        product = f"fedora-{self.branches[branch].release}"
        is_its_own = self.dist_git_branch_of(branch) == branch
        return product if is_its_own else f"{product}-{self.arch_of(branch)}"

    def stage(self, name: str) -> StageSettings:
        """Return how a stage is carried out."""
        how: StageSettings = getattr(self.stages, name)
        return how

    def stage_limits(self, name: str) -> Limits:
        """Return the limits of a stage: its own, or the common ones."""
        return self.stage(name).limits or self.limits

    def sink(self, name: str) -> SinkSettings:
        """Return a sink by its name.

        Raises:
            SettingsError: there is no such sink.
        """
        found = next((sink for sink in self.sinks if sink.name == name), None)
        if found is None:
            configured = ", ".join(sink.name for sink in self.sinks) or "none"
            msg = f"there is no sink {name!r} under [[sinks]]; there: {configured}"
            raise SettingsError(msg)
        return found

    def quarantined(self, branch: str) -> list[Quarantine]:
        """Return the tests that are known to fail on a branch."""
        return [one for one in self.quarantine if not one.branches or branch in one.branches]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the stack's own file takes its place
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not used
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources, the strongest first."""
        stack_env = _StackEnvSource(settings_cls, env_file=env_file())
        toml = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, stack_env, toml


class _StackEnvSource(DotEnvSettingsSource):
    """`stack.env` also holds Airflow's own variables; only `CI_PIPELINE_*` are ours."""

    def __call__(self) -> dict[str, Any]:
        known = set(self.settings_cls.model_fields)
        return {key: value for key, value in super().__call__().items() if key in known}


def project_folder() -> Path:
    """Return the folder that holds `pipeline.toml`, `dags/` and `playbooks/`.

    That is `$CI_PIPELINE_PROJECT` where the package was installed from its wheel, else where its source is.
    """
    return Path(os.environ.get(PROJECT_VARIABLE) or Path(__file__).resolve().parents[2]).absolute()


def config_file() -> Path:
    """Return the path of `pipeline.toml`: `$CI_PIPELINE_CONFIG`, or the project's."""
    return Path(os.environ.get(CONFIG_VARIABLE) or project_folder() / "pipeline.toml")


def state_folder() -> Path:
    """Return the state folder: `$CI_PIPELINE_STATE`, or `.ci-pipeline` in the project."""
    return Path(os.environ.get(STATE_VARIABLE) or project_folder() / ".ci-pipeline").absolute()


def load() -> Settings:
    """Read the settings. Their secrets are masked from then on, wherever this process says something.

    Raises:
        SettingsError: a file is unreadable, a key unknown or a value wrong; each is named with what is allowed.
    """
    path = config_file()
    if not path.is_file():
        msg = f"no settings file at {path}; set {CONFIG_VARIABLE} to the path of a pipeline.toml"
        raise SettingsError(msg)
    settings, secrets = _made(_sources(path))
    redaction.hide(secrets)
    return settings


class _Sources(NamedTuple):
    """All that the settings are made of: equal ones make equal settings."""

    file: Path
    text: bytes
    stack_env: Path
    stack_text: bytes
    environment: frozenset[tuple[str, str]]
    folders: tuple[Path, Path]


def _sources(path: Path) -> _Sources:
    stack_env = env_file()
    stack_text = stack_env.read_bytes() if os.access(stack_env, os.R_OK) and stack_env.is_file() else b""
    folders = project_folder(), state_folder()
    return _Sources(path.absolute(), path.read_bytes(), stack_env, stack_text, frozenset(os.environ.items()), folders)


# Reading them takes longer than most of what a task does with them, and a task reads them several times.
@lru_cache(maxsize=1)
def _made(sources: _Sources) -> tuple[Settings, frozenset[str]]:
    """Return the settings of some sources, and their secrets. Kept while the sources stay what they are.

    Raises:
        SettingsError: as `load` says.
    """
    path = sources.file
    try:
        settings = Settings()
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is not valid TOML: {error}"
        raise SettingsError(msg) from error
    except UnreadableVariable as error:
        # What it is made of quotes the value.
        msg = f"the environment is wrong: {error}; a section as a whole is written in JSON"
        raise SettingsError(msg) from None
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from error
    _refuse_secrets_in(path)
    return _absolute(settings), frozenset(_secrets_of(settings))


def in_container() -> bool:
    """Return whether this is one of the pipeline's containers, whose engine starts and stops its parts."""
    return ENV_FILE_VARIABLE in os.environ


def env_file() -> Path:
    """Return the path of `stack.env`: `$CI_PIPELINE_ENV_FILE`, or the file in the state folder."""
    return Path(os.environ.get(ENV_FILE_VARIABLE) or state_folder() / STACK_ENV).absolute()


@lru_cache(maxsize=1)
def current() -> Settings:
    """Return the settings of this process, read once."""
    return load()


def secret(variable: str) -> SecretStr | None:
    """Return what an environment variable holds, or `stack.env` in its place; None where it is nowhere, or empty."""
    value = os.environ.get(variable) or _stack_env().get(variable)
    redaction.hide(known_secrets.of_variable(value or ""))
    return SecretStr(value) if value else None


def _stack_env() -> Mapping[str, str | None]:
    """Return the variables of the local stack; none where there is no stack, or it is another account's."""
    path = env_file()
    return dotenv_values(path) if os.access(path, os.R_OK) else {}


def _refuse_secrets_in(path: Path) -> None:
    """Refuse a file with secrets in it: it is in a repository, and many read it."""
    for key in known_secrets.written_into(tomllib.loads(path.read_text(encoding="utf-8"))):
        variable = f"CI_PIPELINE_{key.replace('.', '__').upper()}"
        msg = f"{path} holds the secret of {key}; take it out and set {variable} in the environment"
        raise SettingsError(msg)


def _secrets_of(settings: Settings) -> Iterator[str]:
    """Yield the secrets of the settings, and those that the environment and the local stack have beside them."""
    variables = [getattr(sink, key, "") for sink in settings.sinks for key in _SECRETS_OF_SINKS]
    yield from known_secrets.of_section(settings)
    for environment in (os.environ, _stack_env()):
        yield from known_secrets.of_environment(environment, variables)


def _absolute(settings: Settings) -> Settings:
    """Resolve relative paths against the project, so that every component sees the same ones."""
    folder = project_folder() / settings.artifacts.folder
    artifacts = settings.artifacts.model_copy(update={"folder": folder})
    paths = {name: path and project_folder() / path for name, path in asdict(settings.bus.files).items()}
    bus = settings.bus.model_copy(update=paths)
    inventory = settings.builders.inventory and project_folder() / settings.builders.inventory.expanduser()
    builders = settings.builders.model_copy(update={"inventory": inventory})
    update = {"artifacts": artifacts, "bus": bus, "builders": builders, "state": state_folder()}
    return settings.model_copy(update=update)


def _explain(error: ValidationError, path: Path) -> str:
    lines = [_explain_one(problem) for problem in error.errors(include_url=False, include_input=False)]
    return f"{path} or the environment is wrong:\n" + "\n".join(f"  {line}" for line in lines)


def _explain_one(problem: Any) -> str:
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed here: {', '.join(_keys_at(location[:-1]))}"
    if problem["type"] == "union_tag_not_found":
        return f"{key}.kind: Field required; one of: {', '.join(KINDS)}"
    return f"{key}: {problem['msg']}" if key else problem["msg"]


def _keys_at(location: list[str]) -> list[str]:
    """Return the keys allowed in the section at `location`."""
    section: type[BaseModel] = Settings
    named = False  # whether the next part is a name the user chose, as in [branches.f26], or the number of an item
    choices: list[type[BaseModel]] = []
    for part in location:
        if named:
            named = False
            continue
        if len(choices) > 1:  # the part is the kind, which chooses among several sections
            section = next(one for one in choices if part in get_args(one.model_fields["kind"].annotation))
            choices = []
            continue
        annotation = section.model_fields[part].annotation
        choices = _models_in(annotation)
        section = choices[0] if choices else section
        named = get_origin(annotation) in {dict, list}
    return sorted(section.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models inside `X`, `X | None`, `dict[str, X]` or `list[X | Y]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
