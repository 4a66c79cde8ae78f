"""The pages of the site, by whom they are looked at and what they are called."""

from __future__ import annotations

from typing import Any, Final

STATES: Final = ("asked back", "refused", "tightened", "revoked", "withdrawn", "does not fit", "expired")


def pages_of(site: Any) -> dict[str, dict[str, str]]:
    """For each person the addresses of pages, by name."""
    lists = {
        model: site.list(model)
        for model in (
            *("notice", "accessrequest", "grant", "dataset", "ownerhost", "organisation", "person"),
            *("personkey", "run", "auditentry"),
        )
    }
    admin = f"{site.url}/admin"
    everybody = {"overview": f"{admin}/", "security": f"{admin}/security/"} | lists
    person, key, host, dataset, organisation = (
        f"{site.list(model)}1/change/"
        for model in ("person", "personkey", "ownerhost", "dataset", "organisation")
    )
    return {
        "olga": {
            **everybody,
            **{f"request {name}": site.request(name) for name in ("to approve", "to keep", "to revoke")},
            **{f"run {name}": site.run(name) for name in site.runs},
            "orders of a run": f"{site.run('finished')}#orders",
            "grant": f"{site.list('grant')}{site.requests['to revoke']}/change/",
            "dataset page": dataset,
            "host page": host,
            "password": f"{admin}/password_change/",
            "history": site.request("to approve").replace("/change/", "/history/"),
            "missing row": f"{site.list('accessrequest')}0000/change/",
            "no such page": f"{admin}/nothing/",
            "not allowed": f"{site.list('person')}add/",
        },
        "paul": {f"request {name}": site.request(name) for name in STATES},
        "sam": {
            "overview": f"{admin}/",
            **{name: lists[name] for name in ("accessrequest", "grant", "dataset", "run", "personkey")},
            **{
                f"request {name}": site.request(name) for name in ("to approve", "asked back", "does not fit")
            },
            "dataset page": dataset,
            "key": key,
            "run running": site.run("running"),
            "delete a run": site.run("finished").replace("/change/", "/delete/"),
        },
        "eve": everybody,
        "ada": {
            **everybody,
            "lockout": site.list("lockout"),
            **{
                f"add {model}": f"{site.list(model)}add/" for model in ("person", "organisation", "ownerhost")
            },
            "person page": person,
            "security of a person": f"{admin}/security/1/",
            "end of sessions": f"{admin}/security/1/end/?others=1",
            "organisation page": organisation,
            "host page": host,
            "key": key,
            "entry": f"{site.list('auditentry')}20/change/",
            "found": f"{site.list('auditentry')}?q=too_few_rows",
            "nothing found": f"{site.list('person')}?q=nobody",
        },
        "vera": {
            "overview": f"{admin}/",
            "auditentry": lists["auditentry"],
            "security": f"{admin}/security/",
        },
        "nobody": {"log in": f"{admin}/", "no such page": f"{site.url}/nothing/"},
    }
