"""Which addresses the app answers to, and which pages may send it requests."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from webui.api.refusing import refuse
from webui.settings import LOCAL_HOSTS, Settings

PAGES = ("/", "/docs")
"""What a link on another site may open: pages for people, which change nothing by being opened."""
API_PATH = "/sdapi/"
"""What pages of other origins may call where a flag allows it."""
FORWARDED = (b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-for", b"forwarded")


class Origins:
    """ASGI middleware that answers only to the app's own names and the app's own pages."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = own_names(settings)
        self._any_address = settings.host not in LOCAL_HOSTS
        self._behind_proxy = settings.behind_proxy
        self._may_embed = bool(settings.frame_ancestors)
        self._shared = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_origin_regex=settings.cors_origins_regex or None,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            allow_private_network=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400 or 403, or pass the request on."""
        if not self._behind_proxy:
            named = [(key, value) for key, value in scope["headers"] if key not in FORWARDED]
            scope = {**scope, "headers": named}
        headers = Headers(scope=scope)
        hosts = [headers.get("host", "")]
        for value in headers.getlist("x-forwarded-host"):
            hosts += value.split(",")
        hosts = [host.strip().lower() for host in hosts]
        if not all(self._is_own_name(host) for host in hosts):
            detail = "This app is not known by that name; --allowed-host adds one."
            await refuse(400, "UnknownHost", detail)(scope, receive, send)
        elif not self._is_foreign(scope, headers, hosts):
            await self._app(scope, receive, send)
        elif self._may_call(scope, headers):
            # Whoever is logged in on the page has not let other sites act in his name.
            bare = [(key, value) for key, value in scope["headers"] if key != b"cookie"]
            await self._shared({**scope, "headers": bare}, receive, send)
        else:
            detail = "Pages of other sites may not send requests to this app."
            await refuse(403, "ForeignOrigin", detail)(scope, receive, send)

    def _is_own_name(self, host: str) -> bool:
        name = host_name(host)
        return name in self._names or (self._any_address and _is_address(name))

    def _is_foreign(self, scope: Scope, headers: Headers, hosts: list[str]) -> bool:
        """Whether a browser says that a page of another origin sends this request."""
        origin = headers.get("origin")
        if origin is not None and _place(origin) not in hosts:
            return True
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return False
        return not self._is_link(scope, headers)

    def _may_call(self, scope: Scope, headers: Headers) -> bool:
        """Whether a flag lets the page of another origin call the API, which is all that it may."""
        origin = headers.get("origin")
        return (
            origin is not None
            and scope["path"].startswith(API_PATH)
            and self._shared.is_allowed_origin(origin)
        )

    def _is_link(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Whether a person follows a link to a page, or an allowed site shows it in a frame."""
        shown_in = ("document", "iframe") if self._may_embed else ("document",)
        return (
            scope.get("method") == "GET"
            and scope["path"] in PAGES
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") in shown_in
        )


def own_names(settings: Settings) -> frozenset[str]:
    """Return the names, in lower case, by which the machine itself or a flag calls the app."""
    names = {*LOCAL_HOSTS, settings.host.strip("[]"), *settings.allowed_hosts}
    if settings.host not in LOCAL_HOSTS:
        machine = socket.gethostname()
        names |= {machine, f"{machine}.local", machine.partition(".")[0]}
    return frozenset(name.lower().rstrip(".") for name in names)


def host_name(host: str) -> str:
    """Return the name or address of a Host header, without the port and an IPv6's brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _place(origin: str) -> str:
    """Return an Origin's name and port as a Host header says them; "" if it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
