"""Settings say what is wrong with them."""

from pathlib import Path
from typing import get_origin

import pytest
from pydantic import BaseModel

from ci_pipeline import sections, settings
from ci_pipeline.errors import SettingsError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline.toml of the test's own."""
    path = tmp_path / "pipeline.toml"
    path.touch()
    monkeypatch.setenv("CI_PIPELINE_CONFIG", str(path))
    monkeypatch.setenv("CI_PIPELINE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CI_PIPELINE_CONFORMANCE__CLUSTER")
    return path


def test_a_missing_file_is_named(config: Path) -> None:
    """And the variable that points to it."""
    config.unlink()

    with pytest.raises(SettingsError, match=r"no settings file at .*; set CI_PIPELINE_CONFIG"):
        settings.load()


def test_broken_toml_is_named_with_its_place(config: Path) -> None:
    """The line of the mistake is told."""
    config.write_text("[bus\n")

    with pytest.raises(SettingsError, match=r"is not valid TOML: .*line 1"):
        settings.load()


def test_what_has_changed_is_read_anew(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, the stack's own one and the environment: also a text of the same length, in the same moment."""
    stack_env = config.parent / "stack.env"
    monkeypatch.setenv("CI_PIPELINE_ENV_FILE", str(stack_env))
    read = []
    for queue in ("one", "two"):
        config.write_text(f"[bus]\nqueue = '{queue}'")
        read.append(settings.load().bus.queue)
    stack_env.write_text("CI_PIPELINE_BUS__QUEUE='three'")
    read.append(settings.load().bus.queue)
    monkeypatch.setenv("CI_PIPELINE_BUS__QUEUE", "four")
    read.append(settings.load().bus.queue)

    assert read == ["one", "two", "three", "four"]


def test_what_has_not_changed_is_read_once(config: Path) -> None:
    """A task reads the settings several times; secrets are masked each time."""
    config.write_text("[image]\ninterval_hours = 5")

    assert settings.load() is settings.load()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[bus]\nqueu = 'x'", r"bus.queu: unknown key; allowed here: .*queue"),
        ("[bus]\nsenders=['']", r"bus.senders.0: .*at least 1 character"),
        (
            "[storm]\nalways=['a', 'bot']\nnever=['bot']",
            r"storm: .*always and never both name bot; take each out of one",
        ),
        ("colour = 1", r"colour: unknown key; allowed here: .*branches"),
        ("[package.greeter]\ngate = true", r"package.greeter.gate: unknown key; allowed here: gating, install"),
        ("[branches.f26]\nrelease='26'\ndist='fc26'", r"branches.f26.dist: .*pattern"),
        ("[branches.f26]\nrelease='26'", r"branches.f26.dist: Field required"),
        ("[[quarantine]]\ntest='['\ntracker='https://b/1'\nuntil=2027-01-31", r"quarantine.0.test: .*no regular expr"),
        ("[[quarantine]]\nname='x'", r"quarantine.0.name: unknown key; allowed here: branches, test, tracker, until"),
        ("[[quarantine]]\ntest='x'\nuntil=2027-01-31", r"quarantine.0.tracker: Field required"),
        ("[[quarantine]]\ntest='x'\ntracker='https://b/1'", r"quarantine.0.until: Field required"),
        ("[[quarantine]]\ntest='x'\ntracker='later'\nuntil=2027-01-31", r"quarantine.0.tracker: .*pattern"),
        (
            "[contracts]\ncdevents=true",
            r"contracts.cdevents: unknown key; allowed here: ci_pipeline, contact, fedora_ci",
        ),
        ("[contracts.contact]\nurl='ci.example.org'", r"contracts.contact.url: .*is no http:// or https:// address"),
        ("[contracts.contact]\ndocs='https://a:b@example.org/'", r"contracts.contact.docs: .*without a user"),
        ("[contracts.contact]\nemail='us'", r"contracts.contact.email: .*is no mail address"),
        ("[contracts.contact]\nteam=''", r"contracts.contact.team: .*pattern"),
        ("[conformance]\ncluster='cloud'", r"conformance.cluster: .*'none', 'existing', 'k3s'"),
        ("[stages.build_package]\ntoolchain='x'", r"stages.build_package.toolchain: .*'local' or 'fedora'"),
        ("[stages.build_package]\nexecutor='x'", r"stages.build_package.executor: .*'ansible' or 'jenkins'"),
        ("[stages.provision_hosts]\nexecutor='jenkins'", r"executor: .*running on the builder: 'ansible' alone"),
        ("[jenkins]\nurl='http://h'", r"jenkins.url: unknown key; allowed here: connection, job, look_seconds, queue"),
        ("[jenkins]\nconnection='a b'", r"jenkins.connection: .*pattern"),
        ("[jenkins]\njob='{run}'", r"jenkins.job: .*is no name of a job: .* as in ci/\{stage\}"),
        ("[jenkins]\njob='ci/../x'", r"jenkins.job: .*is no name of a job"),
        ("[jenkins]\njob='/ci'", r"jenkins.job: .*is no name of a job"),
        ("[jenkins]\nlook_seconds=0", r"jenkins.look_seconds: .*greater than or equal to 1"),
        ("[jenkins]\nqueue_seconds=inf", r"jenkins.queue_seconds: .*less than or equal to 604800"),
        ("[provision]\nprovider='gce'", r"provision.provider: .*'qemu', 'duffy', 'libvirt'"),
        ("[provision]\nprovider='duffy'", r'provider = "duffy" needs provision.duffy.pool, .*username, .*duffy.key'),
        ("[provision]\nprovider='aws'\naws.region='x'", r'provider = "aws" needs provision.aws.image$'),
        ("[provision]\nprovider='linchpin'\nlinchpin.target='-x'", r"provision.linchpin.target: .*pattern"),
        (
            "[provision]\nprovider='libvirt'\nhours=1\n[conformance]\ncluster='k3s'",
            r"provision.hours = 1 is less than the steps of the cluster may take together, 2.0 \(limits.seconds\)",
        ),
        (
            "[provision]\nprovider='libvirt'\n[stages.integration_tests]\nexecutor='jenkins'",
            r'provision: .*stages.integration_tests.executor = "jenkins" boots its host itself',
        ),
        ("[provision]\nhours=0", r"provision.hours: .*greater than 0"),
        ("[provision.duffy]\nurl='https://a:b@duffy/api/v1'", r"provision.duffy.url: .*must hold no account"),
        ("[provision.aws]\nami='x'", r"provision.aws.ami: unknown key; allowed here: endpoint, image, instance_type"),
        ("[image]\ninterval_hours=-1", r"image.interval_hours: .*greater than or equal to 0"),
        ("[retention]\nrun_days=0", r"retention.run_days: .*greater than 0"),
        ("[retention]\nrun_days=nan", r"retention.run_days: .*less than or equal to 36500"),
        ("[retention]\nrun_days=inf", r"retention.run_days: .*less than or equal to 36500"),
        ("[retention]\nimages=0", r"retention.images: .*greater than or equal to 1"),
        ("[retention]\nbuilds=-1", r"retention.builds: .*greater than or equal to 1"),
        ("[retention]\ncommits=0", r"retention.commits: .*greater than or equal to 1"),
        ("[retention]\nhousekeeping_hours=0", r"retention.housekeeping_hours: .*greater than or equal to 1"),
        ("[airflow]\nlogs='logs'", r"airflow.logs: .*pattern"),
        (
            "[builders]\nstages=['compose_ostree']",
            r"builders.stages.0: .*compose_ostree runs on the pipeline's own machine alone; .*smoke_test",
        ),
        ("[builders]\nstages=['build']", r"builders.stages.0: .*there is no stage 'build'; stages that can go"),
        ("[builders]\nlease_seconds=1", r"builders.lease_seconds: .*greater than or equal to 10"),
        ("[[sinks]]\nname='x'", r"sinks.0.kind: Field required; one of: resultsdb, http, elasticsearch"),
        ("[[sinks]]\nname='x'\nkind='mail'", r"sinks.0: .*'mail'.*'resultsdb', 'http', 'elasticsearch'"),
        ("[[sinks]]\nkind='http'\ncolour=1", r"sinks.0.http.colour: unknown key; allowed here: .*secret_env.*url"),
        ("[[sinks]]\nkind='http'\nname='x'\nurl='http://h'", r"sinks.0.http.secret_env: Field required"),
        (
            "[[sinks]]\nkind='elasticsearch'\nname='x'\nurl='ftp://h'",
            r"sinks.0.elasticsearch.url: .*http:// or https://",
        ),
        ("[[sinks]]\nkind='elasticsearch'\nname='x'\nurl='http://u:p@h'", r"url: .*secrets come from the environment"),
        ("[[sinks]]\nkind='elasticsearch'\nname='X'\nurl='http://h'", r"sinks.0.elasticsearch.name: .*pattern"),
        (
            "[[sinks]]\nkind='elasticsearch'\nname='x'\nurl='http://h'\nusername='u'",
            r"sinks.0.elasticsearch: .*username and password_env together, or token_env alone",
        ),
        (2 * "[[sinks]]\nkind='elasticsearch'\nname='x'\nurl='http://h'\n", r"sinks: .*used twice: x"),
        ("[dist_git]\nurl='ext::sh -c id'", r"dist_git.url: .*must start with https://"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(config: Path, text: str, sentence: str) -> None:
    """Nobody has to read the source to mend a setting."""
    config.write_text(text)

    with pytest.raises(SettingsError, match=sentence):
        settings.load()


def test_the_environment_wins_over_the_stack_and_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then the local stack, then the environment."""
    config.write_text("[bus]\nqueue='of-file'\nexchange='of-file'\ntopic_prefix='org.file'")
    state = settings.state_folder()
    state.mkdir()
    (state / "stack.env").write_text("CI_PIPELINE_BUS__QUEUE=of-stack\nCI_PIPELINE_BUS__EXCHANGE=of-stack\nOTHER=1\n")
    monkeypatch.setenv("CI_PIPELINE_BUS__QUEUE", "of-environment")
    bus = settings.load().bus

    assert (bus.queue, bus.exchange, bus.topic_prefix) == ("of-environment", "of-stack", "org.file")


def test_a_wrong_variable_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is checked as the file is."""
    monkeypatch.setenv("CI_PIPELINE_BUS__COLOUR", "red")

    with pytest.raises(SettingsError, match=r"bus.colour: unknown key"):
        settings.load()


def test_secrets_do_not_show(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings into a log gives nothing away."""
    monkeypatch.setenv("CI_PIPELINE_BUS__URL", "amqp://ci:hunter2@127.0.0.1/")
    monkeypatch.setenv("CI_PIPELINE_AIRFLOW__PASSWORD", "hunter2")
    monkeypatch.setenv("CI_PIPELINE_PROVENANCE__PASSPHRASE", "hunter2")

    assert "hunter2" not in repr(settings.load())


def test_a_secret_is_of_the_environment_or_of_the_stack(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins; nothing is nothing."""
    settings.state_folder().mkdir()
    assert settings.secret("SINK_SECRET") is None
    (settings.state_folder() / "stack.env").write_text("SINK_SECRET=of-stack\n")
    of_stack = settings.secret("SINK_SECRET")
    monkeypatch.setenv("SINK_SECRET", "of-environment")
    of_environment = settings.secret("SINK_SECRET")

    assert of_stack.get_secret_value() == "of-stack"
    assert of_environment.get_secret_value() == "of-environment"
    assert settings.secret("SINK_OTHER") is None


def test_the_shipped_file_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the repository ships is what the demo runs with."""
    monkeypatch.delenv("CI_PIPELINE_CONFIG", raising=False)
    shipped = settings.load()

    assert set(shipped.branches) == {"f26", "rawhide"}
    assert shipped.ref_of("f26") == "fedora/f26/x86_64/atomic-host"
    assert not shipped.package_of("hostinfo").gating
    assert shipped.package_of("greeter").gating


def test_only_the_pipelines_own_topics_are_published_unless_asked(config: Path) -> None:
    """Nobody gets a message twice, in another form, by an update."""
    config.write_text("")
    contracts = settings.load().contracts

    assert (contracts.ci_pipeline, contracts.fedora_ci) == (True, False)


def test_the_shipped_file_keeps_what_the_defaults_keep() -> None:
    """Its comments explain the defaults."""
    assert settings.load().retention == sections.Retention()


def test_a_stage_has_a_job_of_its_own(config: Path) -> None:
    """In a folder, if it is to be; or one with others."""
    config.write_text("[jenkins]\njob='team a/ci.{stage}'\n[stages.smoke_test]\nexecutor='jenkins'")
    known = settings.load()

    assert known.jenkins.job_of("smoke_test") == "team a/ci.smoke_test"
    assert (known.stage("smoke_test").executor, known.stage("build_package").executor) == ("jenkins", "ansible")


def test_certificates_are_looked_for_in_the_project(config: Path) -> None:
    """Where a relative path is from; an absolute one stays."""
    config.write_text("[bus]\nca='ca.pem'\ncertificate='/etc/pki/ours.pem'\n")
    bus = settings.load().bus

    assert (bus.ca, bus.certificate, bus.key) == (settings.project_folder() / "ca.pem", Path("/etc/pki/ours.pem"), None)


def test_every_key_is_documented() -> None:
    """docs/settings.md names every section and key."""
    text = (settings.project_folder() / "docs" / "settings.md").read_text()
    missing = [name for name in _keys(settings.Settings) if f"`{name}`" not in text]

    assert not missing


def _keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the keys of a section and of those in it, with NAME and STAGE for what stands for many."""
    keys = set()
    for name, field in model.model_fields.items():
        inner = settings._models_in(field.annotation)
        key = "STAGE" if prefix == "stages." else name
        if not inner or (name == "limits" and prefix):
            keys.add(f"{prefix}{key}")
        else:
            many = "NAME." if get_origin(field.annotation) is dict else ""
            keys |= {found for one in inner for found in _keys(one, f"{prefix}{key}.{many}")}
    return keys
