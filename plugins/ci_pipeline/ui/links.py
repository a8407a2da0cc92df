"""Addresses: of our own pages and of Airflow's, below whatever path either is served at."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Links:
    """Makes addresses. `base` is where the pages are mounted, `airflow` where Airflow is; neither ends with a slash."""

    base: str
    airflow: str

    @classmethod
    def of(cls, request: Request) -> "Links":
        """Read from a request where the pages are mounted."""
        scope = request.scope
        return cls(scope.get("root_path", ""), scope.get("app_root_path", ""))

    def page(self, name: str = "", **query: object) -> str:
        """Return the address of a page, with the parameters that are not empty."""
        chosen = {key: value for key, value in query.items() if value}
        return f"{self.base}/{name}" + (f"?{urlencode(chosen)}" if chosen else "")

    def change(self, key: str) -> str:
        """Return the permalink of a change."""
        return f"{self.base}/change/{quote(key)}"

    def static(self, name: str) -> str:
        """Return the address of a style sheet or a script."""
        return f"{self.base}/static/{name}"

    def run(self, dag: str, run: str) -> str:
        """Return the page of a run in Airflow."""
        return f"{self.airflow}/dags/{quote(dag, safe='')}/runs/{quote(run, safe='')}"

    def task(self, dag: str, run: str, task: str) -> str:
        """Return the page of a task of a run in Airflow: its log."""
        return f"{self.run(dag, run)}/tasks/{quote(task, safe='')}"

    def login(self, back_to: str) -> str:
        """Return the address of Airflow's login, which leads back."""
        return f"{self.airflow}/api/v2/auth/login?{urlencode({'next': back_to})}"
