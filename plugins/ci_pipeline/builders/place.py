"""Where a try's files are on its builder: in one folder of the try's own, but for what is kept between runs.

    <builder_folder>/cache/                                 `cache`
    <builder_folder>/runs/<dag>/<run>/<stage>-<try>/
        workspace/                                          `workspace`
        artifacts/                                          `artifacts`, with as much of it as the stage reads or writes

So two tries never meet, though one of them be a leftover, and nothing but the try's own folder is ever brought back.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ci_pipeline.builders.inventory import Builder
from ci_pipeline.errors import BuilderError
from ci_pipeline.executors.base import Request


class Place:
    """The folders of one try, there and here."""

    def __init__(self, builder: Builder, request: Request) -> None:
        """Take the builder, and the request as it is for this machine."""
        self.folder = builder.folder
        # <dag>/<run>/<stage>-<try>, as here.
        self.root = "/".join([builder.folder, "runs", *Path(request["workspace"]).parts[-3:]])
        self._here_and_there = [
            (request["workspace"], f"{self.root}/workspace"),
            (request["artifacts"], f"{self.root}/artifacts"),
            (request["cache"], f"{builder.folder}/cache"),
        ]
        # The longest first: one may lie in another.
        self._here_and_there.sort(key=lambda pair: len(pair[0]), reverse=True)

    def there(self, value: Any) -> Any:
        """Return JSON with every path of this machine made one of the builder."""
        return _mapped(value, self._here_and_there)

    def path_there(self, here: Path) -> str:
        """Return where a file or folder of this machine is on the builder.

        Raises:
            BuilderError: it would be outside the try's folder.
        """
        mapped: str = self.there(str(here))
        if not mapped.startswith(f"{self.root}/"):
            raise BuilderError(f"{here} is not below artifacts.folder, so it cannot be brought to a builder")
        return mapped

    def here(self, value: Any) -> Any:
        """Return JSON with every path of the builder made one of this machine."""
        back = [(there, here) for here, there in self._here_and_there]
        return _mapped(value, sorted(back, key=lambda pair: len(pair[0]), reverse=True))


def _mapped(value: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(one, pairs) for key, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, pairs) for one in value]
    if isinstance(value, str):
        for old, new in pairs:
            if value == old or value.startswith(f"{old}/"):
                return new + value.removeprefix(old)
    return value
