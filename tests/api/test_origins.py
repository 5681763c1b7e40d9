"""Only the app's own names are answered to, and only its own pages may send requests."""

from __future__ import annotations

import socket

import pytest
from starlette.types import Receive, Scope, Send

from tests.api.asgi import Echo, ask
from webui.api.origins import Origins
from webui.settings import Settings

LOCAL = Settings()
NETWORK = Settings(host="0.0.0.0")
HERE = "http://localhost:7860"
LINK = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
MACHINE = socket.gethostname()


def status(settings: Settings = LOCAL, method: str = "GET", url: str = "/any", **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(Origins(Echo(), settings), method, url, headers=named).status_code


@pytest.mark.parametrize(
    "host", ["localhost:7860", "127.0.0.1", "127.0.0.1:1", "[::1]:7860", "[::1]", "LOCALHOST."]
)
def test_this_machine_is_answered_to(host: str):
    assert status(Host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "192.168.1.2", "localhost.evil.example", "", "[", "a@localhost@b"]
)
def test_other_names_are_not(host: str):
    assert status(Host=host) == 400


@pytest.mark.parametrize("host", ["192.168.1.2:7860", "[fe80::1]", MACHINE, f"{MACHINE}.local"])
def test_in_the_network_addresses_and_the_names_of_the_machine_are(host: str):
    assert status(NETWORK, Host=host) == 200


def test_a_name_that_leads_to_this_machine_from_outside_is_not():
    assert status(NETWORK, Host="rebound.evil.example:7860") == 400


def test_a_flag_adds_a_name():
    settings = Settings(host="0.0.0.0", allowed_hosts=("My.Example",))
    assert status(settings, Host="my.example") == 200
    assert status(settings, Host="my.example", Origin="https://my.example") == 200


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://[", "localhost:7860"]
)
def test_pages_of_other_origins_are_refused_even_to_ask(method: str, origin: str):
    asking = {"Access_Control_Request_Method": "POST", "Origin": origin}
    assert status(method=method, **asking) == 403


def test_a_page_cannot_make_itself_our_own_with_a_header():
    assert status(Origin="https://evil.example", X_Forwarded_Host="evil.example") == 403


def test_a_proxy_is_believed_when_a_flag_says_so_and_its_name_is_known():
    proxied = {"Origin": "https://my.example", "X_Forwarded_Host": "my.example"}
    assert status(Settings(behind_proxy=True), **proxied) == 400
    settings = Settings(behind_proxy=True, allowed_hosts=("my.example",))
    assert status(settings, **proxied) == 200
    assert status(settings, **proxied | {"Host": "evil.example"}) == 400


def test_own_pages_and_programs_are_answered():
    assert status(method="POST", Origin=HERE, Sec_Fetch_Site="same-origin") == 200
    assert status(method="POST") == 200
    assert status(Sec_Fetch_Site="none") == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "whatever"])
def test_what_other_sites_load_is_refused_without_an_origin_too(site: str):
    assert status(Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image") == 403


def test_a_link_on_another_site_opens_the_page_and_nothing_else():
    settings = {name.replace("-", "_"): value for name, value in LINK.items()}
    assert status(url="/", **settings) == 200
    assert status(url="/docs", **settings) == 200
    assert status(url="/sdapi/v1/options", **settings) == 403
    assert status(method="POST", url="/", **settings) == 403


def test_a_frame_is_refused_unless_a_flag_allows_frames():
    framed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    framed["Sec_Fetch_Dest"] = "iframe"
    assert status(url="/", **framed) == 403
    assert status(Settings(frame_ancestors=("https://my.example",)), url="/", **framed) == 200


SHARED = Settings(
    cors_origins=("https://chat.example",), cors_origins_regex=r"http://localhost:\d+"
)
API = "/sdapi/v1/txt2img"


@pytest.mark.parametrize("origin", ["https://chat.example", "http://localhost:5001"])
def test_a_flag_lets_pages_of_other_sites_call_the_api(origin: str):
    asking = {
        "Origin": origin,
        "Sec-Fetch-Site": "cross-site",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    app = Origins(Echo(), SHARED)
    asked = ask(app, "OPTIONS", API, headers=asking)
    allowed = {key: value for key, value in asked.headers.items() if "allow" in key}
    assert asked.status_code == 200 and allowed["access-control-allow-origin"] == origin
    assert allowed["access-control-allow-private-network"] == "true"
    assert "authorization" in allowed["access-control-allow-headers"].lower()
    sent = ask(app, "POST", API, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert sent.status_code == 200
    assert sent.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in sent.headers


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("https://evil.example", API),
        ("https://chat.example.evil.example", API),
        ("http://localhost:5001.evil.example", API),
        ("null", API),
        ("https://chat.example", "/"),
        ("https://chat.example", "/gradio_api/upload"),
        ("https://chat.example", "/login"),
    ],
)
def test_it_lets_nobody_else_and_to_nothing_else(origin: str, url: str):
    for method in ("GET", "POST", "OPTIONS"):
        assert status(SHARED, method, url, Origin=origin) == 403


def test_a_site_that_may_call_the_api_does_not_act_for_who_is_logged_in():
    seen: list[tuple[bytes, bytes]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(scope["headers"])
        await Echo()(scope, receive, send)

    headers = {"Origin": "https://chat.example", "Cookie": "access-token=me"}
    assert ask(Origins(app, SHARED), "POST", API, headers=headers).status_code == 200
    assert seen and not any(key == b"cookie" for key, _ in seen)


def test_a_site_that_may_call_the_api_still_needs_the_apps_own_name():
    headers = {"Origin": "https://chat.example", "Host": "rebound.evil.example"}
    assert status(SHARED, "POST", API, **headers) == 400
    assert status(Settings(cors_origins=("*",)), "POST", API, Origin="https://any.example") == 200
