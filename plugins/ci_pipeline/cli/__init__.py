"""The command line `ci-pipeline`: thin commands that parse, call a function and print."""


def main() -> None:
    """Run the command line; the entry point `ci-pipeline`."""
    # Here, so that the demo can use this package's parts without importing the commands, which import the demo.
    from ci_pipeline.cli.app import app  # noqa: PLC0415

    app()
