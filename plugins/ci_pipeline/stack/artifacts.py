"""The artifacts folder over HTTP, as package managers and hosts want it."""

import sys

import httpx

from ci_pipeline.stack.components import Program
from ci_pipeline.stack.layout import Layout
from ci_pipeline.stack.ports import LOOPBACK


def program(layout: Layout, port: int) -> Program:
    """Return how the server is run."""
    server = (sys.executable, "-m", "http.server", "--bind", LOOPBACK, "--directory", str(layout.artifacts), str(port))
    return Program(name="artifacts", command=server, folder=str(layout.artifacts))


def is_ready(url: str) -> bool:
    """Tell whether the server answers."""
    try:
        return httpx.head(url, trust_env=False, timeout=3).is_success
    except httpx.HTTPError:
        return False
