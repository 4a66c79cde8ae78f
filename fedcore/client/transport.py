"""HTTP to the coordinator: one place that turns answers into values and refusals into errors."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import httpx

from fedcore.client.errors import CodeNeeded, FedcoreError, NotLoggedIn, Refused, Unreachable

TIMEOUT: Final = httpx.Timeout(30.0, read=60.0)


def is_in_clear(url: str) -> bool:
    """Whether what is sent there can be read on the way: neither TLS, nor this machine itself."""
    found = httpx.URL(url)
    if found.scheme != "http" or found.host == "localhost":
        return False
    try:
        return not ip_address(found.host).is_loopback
    except ValueError:
        return True


class Transport:
    """Requests to one coordinator with one person's token."""

    def __init__(
        self, url: str, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        # The system's name helps a person to tell the own tokens apart.
        agent = {"User-Agent": f"fedcore client ({platform.system()})"}
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT, transport=transport, headers=agent)

    def get(self, path: str, **parameters: Any) -> Any:
        return self._json(self._send("GET", path, params=_present(parameters)))

    def pages(self, path: str, **parameters: Any) -> Iterator[Any]:
        """The entries of a list that comes in pages, one after the other."""
        query = _present(parameters)
        while True:
            response = self._send("GET", path, params=query)
            yield from self._json(response)
            following = response.links.get("next", {}).get("url")
            if following is None:
                return
            # Only the place is taken from the answer: the token goes to no other address.
            query = _present(parameters) | {"cursor": httpx.URL(following).params.get("cursor", "")}

    def get_bytes(self, path: str, **parameters: Any) -> bytes:
        """The bytes at an address, for what is small."""
        return self._send("GET", path, params=_present(parameters)).content

    def post(self, path: str, content: Any = None) -> Any:
        return self._json(self._send("POST", path, json={} if content is None else content))

    def post_text(self, path: str, text: str) -> Any:
        """Post exact JSON text, as it was signed."""
        return self._json(
            self._send("POST", path, content=text.encode(), headers={"Content-Type": "application/json"})
        )

    def download(self, path: str, target: Path) -> Path:
        """Fetch bytes into `target`, which appears only when it is complete."""
        temporary = target.with_name(target.name + ".part")
        try:
            with self._http.stream("GET", path, headers=self._headers()) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                self._check(response)
                with temporary.open("wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
            temporary.rename(target)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = self._headers() | arguments.pop("headers", {})
        try:
            response = self._http.request(method, path, headers=headers, **arguments)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        self._check(response)
        return response

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}"} if self.token else {}

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"The coordinator at {self.url} did not answer ({type(error).__name__}). Check the address and "
            "that it is running."
        )

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise self._not_logged_in(response)
        raise self._refusal(response)

    def _not_logged_in(self, response: httpx.Response) -> NotLoggedIn:
        refusal = self._refusal(response)
        code = refusal.code if isinstance(refusal, Refused) else ""
        if response.request.url.path != "/api/login":
            return NotLoggedIn("You are not logged in, or your token has expired. Run `fedcore login`.")
        if code == "second_factor_required":
            return CodeNeeded("The code of your second factor is needed too.")
        if code == "second_factor_wrong":
            return NotLoggedIn(
                "The coordinator did not accept the code. Wait for the next one, and try again."
            )
        return NotLoggedIn("The coordinator did not accept username and password. Try again.")

    def _refusal(self, response: httpx.Response) -> FedcoreError:
        try:
            body = response.json()
            code, detail = str(body.get("code", response.status_code)), str(body["detail"])
            return Refused(code, detail, [str(problem["detail"]) for problem in body.get("problems", [])])
        except (ValueError, KeyError, AttributeError, TypeError):
            return Unreachable(
                f"{self.url} answered {response.status_code}, which is no answer of a coordinator."
            )

    def _json(self, response: httpx.Response) -> Any:
        if response.status_code == httpx.codes.NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError:
            raise Unreachable(f"{self.url} gave an answer that is not JSON. Is it a coordinator?") from None


def _present(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}
