"""Who may use our routes: whoever the page lets through, or who sends its login along."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from fastapi import FastAPI, HTTPException, Request

COOKIES = ("access-token", "access-token-unsecure")
"""Gradio's names of the cookie of a login, over HTTPS and without."""


class Page(Protocol):
    """What Gradio's application keeps about logins."""

    tokens: Mapping[str, str]
    """Who is logged in, by the value of the cookie."""
    cookie_id: str
    """Ends the cookie's name."""


def signed_in(app: FastAPI, auth: tuple[str, str] | None) -> Callable[[Request], None]:
    """Return a dependency that lets the page's cookie and HTTP Basic with its login through."""
    page = cast(Page, app)

    def check(request: Request) -> None:
        if auth is None:
            return
        for cookie in COOKIES:
            if page.tokens.get(request.cookies.get(f"{cookie}-{page.cookie_id}", "")):
                return
        if _is_login(request.headers.get("authorization", ""), auth):
            return
        raise HTTPException(401, "Log in first.", {"WWW-Authenticate": "Basic"})

    return check


def _is_login(header: str, auth: tuple[str, str]) -> bool:
    """Whether an Authorization header holds the login; takes equally long for every wrong one."""
    kind, _, token = header.partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        given = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        return False
    return secrets.compare_digest(given, ":".join(auth).encode())
