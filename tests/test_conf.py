"""What a run is asked for: fields, pasted messages, and what contradicts itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from ci_pipeline import settings
from ci_pipeline.conf import Conf
from ci_pipeline.errors import ChangeError
from ci_pipeline.revisions import Named
from tests.makers import REV, pushed

PUSH = json.loads(pushed().raw)


@pytest.fixture
def configured() -> settings.Settings:
    """The project's settings."""
    return settings.load()


def named(configured: settings.Settings, **fields: Any) -> Named:
    """Return what a conf names on f26."""
    return Conf.parse(fields).named(configured, branch="f26")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"colour": "red", "shape": 1}, "unknown keys in conf: colour, shape; allowed: conformance, gating, "),
        ({"x" * 1000: 1}, "unknown keys in conf: x{200}; allowed"),
        ({"namespace": "../rpms"}, "the conf's namespace is not valid: "),
        ({"repo": "-x"}, "the conf's repo is not valid: "),
        ({"rev": 7}, "the conf's rev is not valid: Input should be a valid string"),
        (
            {"generate_image": "sometimes"},
            "the conf's generate_image is not valid: Input should be 'when-due', 'always'",
        ),
        ({"gating": "no"}, "the conf's gating is not valid: Input should be 'as configured', 'gating' or 'opt-in'"),
        ({"conformance": None}, "the conf's conformance is not valid: "),
        ({"test_guidance": "a\x00b"}, "the conf's test_guidance is not valid: "),
        ({"test_guidance": "a" * 501}, "the conf's test_guidance is not valid: "),
        ({"message": 7}, "the conf's message is not valid: "),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(fields: dict[str, Any], sentence: str) -> None:
    """Airflow lets keys pass that its form does not know."""
    with pytest.raises(ChangeError, match=sentence):
        Conf.parse(fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "no repo and no rev: give repo and rev, or paste a message"),
        ({"repo": "greeter"}, "^no rev: give"),
        ({"rev": REV}, "^no repo: give"),
        ({"message": PUSH, "repo": "hostinfo"}, "repo is hostinfo and the message says greeter: leave one of them out"),
        ({"message": PUSH, "namespace": "modules"}, "namespace is modules and the message says rpms"),
        ({"message": PUSH, "rev": "f26"}, f"rev is f26 and the message says {REV}"),
        ({"message": "{"}, "the message is not JSON"),
        ({"message": "\ud800"}, "the message is not JSON"),
        ({"message": "[]"}, "the message is not a JSON object"),
        ({"message": {"a": 1}}, "is not one the pipeline reads"),
        ({"message": {"raw_messages": []}}, "there are 0 messages in what datagrepper returned: paste one of them"),
        ({"message": {"raw_messages": [PUSH, PUSH]}}, "there are 2 messages"),
    ],
)
def test_a_conf_that_names_no_one_change_is_refused(
    configured: settings.Settings, fields: dict[str, Any], sentence: str
) -> None:
    """Nothing is guessed."""
    with pytest.raises(ChangeError, match=sentence):
        named(configured, **fields)


@pytest.mark.parametrize(
    ("branch", "sentence"),
    [
        ("rawhide", "about the branch rawhide, not f26: trigger ci-pipeline-rawhide with it"),
        ("master", "about the branch rawhide, not f26: trigger ci-pipeline-rawhide with it"),
        ("f19", "about the branch f19, not f26: which has no pipeline"),
    ],
)
def test_a_message_about_another_branch_names_the_right_dag(
    configured: settings.Settings, branch: str, sentence: str
) -> None:
    """Running it here would build it for the wrong release."""
    with pytest.raises(ChangeError, match=sentence):
        named(configured, message=json.loads(pushed(branch=branch).raw))


def test_a_message_that_can_never_be_a_run_is_refused_with_its_reason(configured: settings.Settings) -> None:
    """A fork's, or a deleted branch's."""
    with pytest.raises(ChangeError, match="the message names nothing to run: the branch was deleted"):
        named(configured, message=json.loads(pushed(rev="0" * 40).raw))


@pytest.mark.parametrize("wrapped", ["bare", "fedmsg", "datagrepper", "text", "nothing but fields"])
def test_a_pasted_message_names_the_change(configured: settings.Settings, wrapped: str) -> None:
    """As it was on the bus, as an archive shows it, or as datagrepper returns it."""
    envelope = {"topic": "org.fedoraproject.prod.git.receive", "msg": PUSH, "i": 1}
    message = {
        "bare": PUSH,
        "fedmsg": envelope,
        "datagrepper": {"count": 1, "raw_messages": [envelope]},
        "text": json.dumps(envelope, indent=2),
        "nothing but fields": {"namespace": "rpms", "repo": "greeter", "rev": REV, "branch": "f26"},
    }[wrapped]

    assert named(configured, message=message) == Named("rpms", "greeter", "f26", REV)


def test_the_recorded_message_can_be_pasted(configured: settings.Settings, recorded: Path) -> None:
    """Byte for byte. Its branch has a pipeline in no installation here."""
    text = (recorded / "org.fedoraproject.prod.git.receive.json").read_text()
    change = json.loads(text)["msg"]["commit"]
    found = Conf.parse({"message": text}).named(configured, branch=change["branch"].replace("master", "rawhide"))

    assert (found.namespace, found.repo, found.rev) == (change["namespace"], change["repo"], change["rev"])


def test_fields_that_agree_with_the_message_are_no_contradiction(configured: settings.Settings) -> None:
    """A revision's first digits agree with all of them."""
    assert named(configured, message=PUSH, namespace="rpms", repo="greeter", rev=REV[:9]).rev == REV


def test_empty_fields_are_left_out(configured: settings.Settings) -> None:
    """A form may send them as empty text."""
    assert named(configured, namespace="", repo="greeter", rev="v1.0", message="") == Named(
        "rpms", "greeter", "f26", "v1.0"
    )


def test_only_what_differs_from_the_defaults_is_an_option() -> None:
    """A run without options is as configured, whatever the settings say later."""
    assert Conf.parse({"repo": "greeter", "rev": REV, "gating": "as configured"}).options == {}
    assert Conf.parse({"gating": "opt-in", "generate_image": "always", "conformance": "never"}).options == {
        "gating": "opt-in",
        "generate_image": "always",
        "conformance": "never",
    }


def test_every_key_of_the_conf_is_in_the_docs() -> None:
    """With what it may be."""
    table = (settings.project_folder() / "docs" / "operating.md").read_text()

    assert not [key for key in Conf.model_fields if f"\n| `{key}` | " not in table]
