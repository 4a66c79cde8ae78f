"""The sites an owner's log can stand for: what is on them and who uses them."""

from __future__ import annotations

from dataclasses import dataclass

from .generator_grammar import Alternatives
from .vocabulary import BASICS, PHRASES, PLACES, TARGETS


@dataclass(frozen=True)
class Site:
    """One site: its host, private network, people, nouns, pages and the places of its parameters."""

    host: str
    network: int
    people: tuple[str, ...]
    nouns: tuple[str, ...]
    pages: tuple[str, ...]
    places: dict[str, tuple[str, ...]]

    def rules(self) -> dict[str, Alternatives]:
        """The grammar rules of ordinary traffic on this site."""
        places = {name: (*shared, *self.places.get(name, ())) for name, shared in PLACES.items()}
        own: dict[str, Alternatives] = {"noun": self.nouns, "page": self.pages, "host": (self.host,)}
        return {**BASICS, **PHRASES, **TARGETS, **places, **own}


# Filled by hand: one alternative a line would hide the shape of a rule.
# fmt: off
_NOUNS = (
    "report", "garden", "travel", "music", "house", "offer", "photo", "letter", "market", "school",
    "winter", "table",
)
_PAGES = (
    "/", "/", "/index.html", "/about", "/contact", "/account", "/help/{noun}", "/news/{year}/{noun}-{n}",
    "/login",
)
_PEOPLE = ("anna", "ben", "carla", "m.obrien", "admin", "grace", "hugo", "support")

SITES: dict[str, Site] = {
    "shop": Site(
        host="shop.example.com",
        network=11,
        people=(*_PEOPLE, "buyer{n}", "stock", "j.silva"),
        nouns=(
            *_NOUNS, "lamp", "shoes", "jacket", "script", "cable", "phone", "chair", "books", "knife",
            "coffee", "union",
        ),
        pages=(
            *_PAGES, "/products/{n}", "/products/{noun}-{n}", "/category/{noun}", "/cart",
            "/checkout/{digit}", "/reviews/{n}",
        ),
        places={
            "keyed": ("product?id=", "cart/add?sku=", "category?cat=", "reviews?item="),
            "textual": ("products?name=", "reviews?text="),
            "running": ("labels?printer=",),
            "jump": ("checkout?back=",),
        },
    ),
    "hospital": Site(
        host="portal.example.org",
        network=42,
        people=(*_PEOPLE, "dr.kim", "ward{digit}", "n.dsouza"),
        nouns=(
            *_NOUNS, "clinic", "doctor", "allergy", "ward", "sleep", "surgery", "vaccine", "heart", "visit",
            "injection", "pain",
        ),
        pages=(
            *_PAGES, "/doctors/{n}", "/departments/{noun}", "/appointments/{date}", "/results/{n}",
            "/visiting/{noun}",
        ),
        places={
            "keyed": ("patient?id=", "appointment?doctor=", "results?ref=", "ward?no="),
            "textual": ("doctors?name=", "symptoms?text="),
            "opening": ("results?pdf=", "leaflets?file="),
            "running": ("print?device=",),
        },
    ),
    "bank": Site(
        host="bank.example.net",
        network=77,
        people=(*_PEOPLE, "k.novak", "teller{digit}", "client{n}"),
        nouns=(
            *_NOUNS, "loan", "branch", "card", "credit", "union", "account", "transfer", "fund", "rates",
            "exchange", "trust",
        ),
        pages=(
            *_PAGES, "/accounts/{n}", "/rates/{noun}", "/branches/{noun}", "/statements/{date}",
            "/cards/{noun}-{n}",
        ),
        places={
            "keyed": ("account?no=", "transfer?from=", "statement?id=", "card?ref="),
            "textual": ("payee?name=", "branches?city="),
            "opening": ("statement?pdf=", "forms?doc="),
            "jump": ("signin?target=", "consent?callback="),
        },
    ),
    "hosting": Site(
        host="www.hosting.test",
        network=130,
        people=(*_PEOPLE, "root", "dev{n}", "ops"),
        nouns=(
            *_NOUNS, "server", "kernel", "shell", "domain", "script", "backup", "query", "select", "proxy",
            "config", "mirror",
        ),
        pages=(
            *_PAGES, "/kb/{tech}/{noun}", "/repos/{noun}/blob/{hex}/{noun}.php", "/tickets/{n}",
            "/mirror/{noun}/", "/plans/{noun}",
        ),
        places={
            "keyed": ("ticket?id=", "domain?ref=", "invoice?no=", "kb?article="),
            "textual": ("kb?q=", "tickets?subject="),
            "opening": ("repos/raw?path=", "logs?file="),
            "running": ("ping?host=", "lookup?name=", "backup?dir="),
            "fetching": ("mirror?from=", "import?repo="),
        },
    ),
}
