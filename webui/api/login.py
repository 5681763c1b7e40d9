"""Who may use the app: whoever logged in on the page, or who sends the login along."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.api.refusing import refuse

OPEN_PATHS = ("/", "/theme.css", "/favicon.ico", "/manifest.json", "/login", "/login/", "/logout",
              "/gradio_api/startup-events", "/gradio_api/startup-events/")  # fmt: skip
OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/")
"""What the page with the login is made of; nothing else is to be had before it."""
LOGIN_PATHS = ("/login", "/login/")
FREE_GUESSES = 5
LONGEST_WAIT_S = 60
MOST_ADDRESSES = 1000


class Login:
    """ASGI middleware that asks for the login before anything of a request is read.

    ``has_session`` tells whether a request has the cookie of someone who is logged in.
    """

    def __init__(
        self, app: ASGIApp, auth: tuple[str, str], has_session: Callable[[HTTPConnection], bool]
    ) -> None:
        self._app = app
        self._auth = auth
        self._has_session = has_session
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 429, or pass the request on."""
        request = HTTPConnection(scope)
        guess = request.headers.get("authorization")
        if self._has_session(request):
            await self._app(scope, receive, send)
        elif guess is not None or (scope.get("method") == "POST" and scope["path"] in LOGIN_PATHS):
            await self._judge(guess, scope, receive, send)
        elif _is_open(scope):
            await self._app(scope, receive, send)
        else:
            await _ask(scope, receive, send)

    async def _judge(self, guess: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at a login in a header, or let the page look at the one in a form."""
        address = scope["client"][0] if scope.get("client") else ""
        wait_s = self._guesses.wait_s(address)
        if wait_s > 0:
            detail = "There were too many wrong logins from here; try again a little later."
            retry = {"Retry-After": str(math.ceil(wait_s))}
            await refuse(429, "TooManyGuesses", detail, retry)(scope, receive, send)
            return
        self._guesses.count(address)
        if guess is None:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start" and message["status"] == 200:
                    self._guesses.forget(address)
                await send(message)

            await self._app(scope, receive, watched)
        elif is_login(guess, self._auth):
            self._guesses.forget(address)
            await self._app(scope, receive, send)
        else:
            await _ask(scope, receive, send)


class Guesses:
    """Counts the wrong logins of an address; each after the first few doubles the wait."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Return the seconds until the address may try again, at most LONGEST_WAIT_S."""
        number, last = self._seen.get(_network(address), (0, 0.0))
        if number < FREE_GUESSES:
            return 0.0
        pause = min(LONGEST_WAIT_S, 2.0 ** min(number - FREE_GUESSES, 10))
        return max(0.0, last + pause - self._now())

    def count(self, address: str) -> None:
        """Count a guess; ``forget`` takes it back when it was right."""
        key = _network(address)
        self._seen[key] = (self._seen.pop(key, (0, 0.0))[0] + 1, self._now())
        while len(self._seen) > MOST_ADDRESSES:
            self._seen.popitem(last=False)

    def forget(self, address: str) -> None:
        """Forget the guesses of an address whose login was right."""
        self._seen.pop(_network(address), None)


def _network(address: str) -> str:
    """Return an address, or the /64 network of an IPv6 one, which one person has as a whole."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return address
    return str(ipaddress.ip_network((known, 64), strict=False))


def is_login(header: str, auth: tuple[str, str]) -> bool:
    """Whether an Authorization header holds the login; takes equally long for every wrong one."""
    kind, _, token = header.partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        given = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        return False
    return secrets.compare_digest(given, ":".join(auth).encode())


def _is_open(scope: Scope) -> bool:
    path = scope["path"]
    return scope.get("method") in ("GET", "HEAD") and (
        path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)
    )


async def _ask(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"WWW-Authenticate": "Basic"}
    await refuse(401, "LoginNeeded", "Log in first.", headers)(scope, receive, send)
