"""The pages with a stand-in for Airflow's login: it says what a test wants it to say."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

from ci_pipeline.ui.access import Viewer
from ci_pipeline.ui.app import create_app

HTML = {"accept": "text/html"}


class Login:
    """Who asks: nobody (`None`), someone who may not read (`"stranger"`), or a viewer."""

    def __init__(self) -> None:
        self.who: Viewer | str | None = Viewer("someone", may_act=True)

    async def __call__(self, _: Request) -> Viewer:
        if self.who is None:
            raise HTTPException(401, "Not authenticated")
        if isinstance(self.who, str):
            raise HTTPException(403, "You may not read this.")
        return self.who


@pytest.fixture
def login() -> Login:
    """Who asks: at first someone who may do everything."""
    return Login()


@pytest.fixture
def app(login: Login) -> FastAPI:
    """The pages, mounted as Airflow mounts them."""
    outer = FastAPI()
    outer.mount("/ci-pipeline", create_app(login))
    return outer


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client that follows no redirects and asks for pages as a browser does."""
    with TestClient(app, follow_redirects=False, headers=HTML) as made:
        yield made
