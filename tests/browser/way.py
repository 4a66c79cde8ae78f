"""What the whole way needs: the processes, a window for each person, and what people do again and again."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from examples.demo.organisations import CLOUD_HOUSE, Person
from fedcore.client import Dataset, RunPlan
from tests.browser.conftest import Visitors
from tests.browser.looks import look_at
from tests.faults.federation import Federation

ADA = Person("ada", "Ada", "Auditor", CLOUD_HOUSE, ("auditor",))


@dataclass
class Way:
    """The processes, one window for each person, and what the steps have found so far."""

    federation: Federation
    visit: Visitors
    pages: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    plan: RunPlan | None = None
    grants: list[str] = field(default_factory=list)
    run: str = ""
    pictures: int = 0

    def page(self, username: str) -> Any:
        if username not in self.pages:
            self.pages[username] = self.visit(None)
        return self.pages[username]

    def person(self, username: str) -> Person:
        return ADA if username == "ada" else self.federation.cast.person(username)

    def open(self, username: str, path: str) -> Any:
        page = self.page(username)
        page.goto(f"{self.federation.url}/admin/{path}")
        return page

    def picture(self, page: Any, name: str, **options: Any) -> None:
        """Look at the page in all its looks."""
        self.pictures += 1
        found = look_at(page, f"way-{self.pictures:02}-{name}", **options)
        assert not found, "\n".join(found)

    def until_shown(self, page: Any, selector: str, words: str, seconds: float = 60) -> None:
        """Load the page again and again until it says so."""

        def shown() -> bool:
            page.reload()
            return words in page.locator(selector).first.inner_text()

        self.federation.until(f"the page says “{words}”", shown, seconds, every=1)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the coordinator's database says."""
        database = self.federation.cast.operator.home / "coordinator.sqlite3"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    @property
    def request_page(self) -> str:
        """The page of Sam's request for North Hospital's data."""
        return f"governance/accessrequest/{self.grants[0]}/change/"

    @property
    def datasets(self) -> list[Dataset]:
        return sorted(self.federation.session("sam").datasets(), key=lambda dataset: dataset.host_name)


def log_in(page: Any, person: Person) -> None:
    page.get_by_label("Username").fill(person.username)
    page.get_by_label("Password").fill(person.password)
    with page.expect_navigation():
        page.get_by_role("button", name="Log in").click()


def add_person(way: Way, person: Person, organisation: str, role: str) -> None:
    """Clara adds somebody, and the page shows a link once; then it takes the role."""
    page = way.open("clara", "governance/person/add/")
    page.get_by_label("Username").fill(person.username)
    page.locator("select[name=organisation]").select_option(label=organisation)
    page.get_by_label("First name").fill(person.first_name)
    page.get_by_label("Last name").fill(person.last_name)
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/change/")
    link = re.search(r"http://[^\s<]+/admin/welcome/[^\s<]+", page.content())
    assert link is not None
    way.links[person.username] = link[0]
    way.picture(page, f"link-of-{person.username}")
    page.get_by_label(role).check()
    page.get_by_role("button", name="Save and continue editing").click()
    # From now on only the organisation's own people give and take it.
    page.get_by_text(f"Also: {role.lower()}. Not yours to give or take.").wait_for()


def set_password(page: Any, link: str, person: Person) -> None:
    page.goto(link)
    for name in ("new_password1", "new_password2"):
        page.locator(f"input[name={name}]").fill(person.password)
    page.get_by_role("button", name="Set password").click()
    page.get_by_text("Your password is set").wait_for()


def part_of(site: str, organisations: set[str]) -> str:
    """The tables of a site's TOML that are about these organisations."""
    tables = ["[[" + table for table in site.split("[[")[1:]]
    return "".join(table for table in tables if _organisation_of(table) in organisations)


def _organisation_of(table: str) -> str:
    key = "name" if table.startswith("[[organisations") else "organisation"
    found = re.search(rf'^{key} = "(.+)"', table, re.M)
    assert found is not None
    return found[1]
