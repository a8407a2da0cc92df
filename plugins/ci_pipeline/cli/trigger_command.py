"""`trigger`: run a change by hand."""

from typing import Annotated, Any, Final

import typer

from ci_pipeline import settings, trigger
from ci_pipeline.change import canonical_branch
from ci_pipeline.cli import run_commands
from ci_pipeline.cli.options import AsJson, NoReuse
from ci_pipeline.cli.output import complain, print_json, say
from ci_pipeline.conf import Conf, Conformance, Gating
from ci_pipeline.errors import ChangeError
from ci_pipeline.rules import GenerateImage

_DEFAULTS: Final = Conf()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trigger")(trigger_run)


def trigger_run(  # noqa: PLR0913 - they are the command's options
    package: Annotated[
        str,
        typer.Argument(
            metavar="NAMESPACE/PACKAGE[@REV]",
            help="What to run: rpms/mesa@35fdde9. REV: 7 to 40 digits, a branch or a tag; default: the branch's head.",
        ),
    ],
    *,
    branch: Annotated[str, typer.Option("--branch", help="The branch to run it on.")],
    test_guidance: Annotated[
        str, typer.Option("--test-guidance", help="Comma-separated test suites, for consumers of the messages.")
    ] = _DEFAULTS.test_guidance,
    image: Annotated[
        GenerateImage, typer.Option("--image", help="Generate an image when one is due, always or never.")
    ] = _DEFAULTS.generate_image,
    gating: Annotated[
        Gating, typer.Option("--gating", help="Whether failing functional tests stop the run.")
    ] = _DEFAULTS.gating,
    conformance: Annotated[
        Conformance, typer.Option("--conformance", help="Whether there are conformance tests.")
    ] = _DEFAULTS.conformance,
    no_reuse: NoReuse = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show its stages until it has ended, as `watch` does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a change by hand, whether it was run before or not.

    With --wait the exit status is 0 only if the run ended SUCCESS.
    """
    configured, branch = settings.current(), canonical_branch(branch)
    if branch not in configured.branches:
        raise ChangeError(f"the branch {branch} has no pipeline; there are: {', '.join(configured.branches)}")
    options = {"generate_image": image, "gating": gating, "conformance": conformance, "test_guidance": test_guidance}
    options |= {"reuse": "never"} if no_reuse else {}
    done = trigger.trigger(
        configured, Conf.parse({**_named(package, configured.dist_git_branch_of(branch)), **options}), branch=branch
    )
    for warning in done.warnings:
        complain(warning)
    if as_json:
        print_json(done)
    else:
        say(f"{done.run}: {done.change.namespace}/{done.change.repo} {done.change.rev} on {branch}\n{done.url}")
    if wait:
        run_commands.watch(done.run, as_json=as_json)


def _named(package: str, branch: str) -> dict[str, Any]:
    name, at, rev = package.partition("@")
    namespace, _, repo = name.rpartition("/")
    if not namespace or not repo or (at and not rev):
        raise ChangeError(
            f"{package[:80]!r} names no change: give NAMESPACE/PACKAGE@REV, for example rpms/mesa@35fdde9"
        )
    return {"namespace": namespace, "repo": repo, "rev": rev or branch}
