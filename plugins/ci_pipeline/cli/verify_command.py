"""`verify`: whether an image is what its manifest says, and who vouches for it."""

from pathlib import Path
from typing import Annotated

import typer

from ci_pipeline import settings
from ci_pipeline.cli.options import AsJson
from ci_pipeline.cli.output import complain, print_json, say
from ci_pipeline.manifests.verifying import Verified, verify_file, verify_kept

ImageArgument = Annotated[
    str,
    typer.Argument(metavar="IMAGE", help="Name of an image of this pipeline, or path of one that was downloaded."),
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="Public key (PEM) that has to have signed it. Default, by name: of provenance.key."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(image: ImageArgument, *, key: KeyOption = None, as_json: AsJson = False) -> None:
    """Check an image, its manifest, the files that tells of and that are there, and the signature.

    A path needs no pipeline: its manifest, and its provenance if there is one, have to lie beside it. Exit status 1 if
    something is wrong.
    """
    path = Path(image)
    by_path = "/" in image or path.is_file()
    done = verify_file(path, key=key) if by_path else verify_kept(settings.current(), image, key=key)
    if as_json:
        print_json(done)
    else:
        _tell(done)
    if done.problems:
        raise typer.Exit(1)


def _tell(done: Verified) -> None:
    name = Path(done.image).name
    for note in done.notes:
        say(note)
    for problem in done.problems:
        complain(problem)
    if not done.problems:
        signature = ", signature" if done.signed else ""
        say(f"{name}: all is well: image, manifest, {done.files} other files{signature}")
