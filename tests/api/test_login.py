"""Without the login nothing is read, and guessing it is slow."""

from __future__ import annotations

import base64

import pytest

from tests.api.asgi import Echo, ask
from webui.api.login import FREE_GUESSES, LONGEST_WAIT_S, MOST_ADDRESSES, Guesses, Login, is_login

LOGIN = ("me", "se:cret ü")
RIGHT = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


def behind(app: Echo) -> Login:
    return Login(app, LOGIN, lambda request: request.cookies.get("token") == "good")


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ????",
        "Basic bWU6d3Jvbmc=",
        "Basic bWU=",
        "Bearer bWU6c2U6Y3JldA==",
        "basic " + "A" * 9000,
    ],
)
def test_a_wrong_login_is_known_as_one(header: str):
    assert not is_login(header, LOGIN)
    assert is_login(RIGHT, LOGIN)


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload", "/sdapi/v1/any"])
def test_a_body_is_not_read_before_the_login(path: str):
    app = Echo()
    answer = ask(behind(app), "POST", path, content=b"{}")
    assert (answer.status_code, app.paths) == (401, [])


def test_the_page_of_the_login_is_to_be_had():
    for path in ("/", "/theme.css", "/assets/index.js"):
        assert ask(behind(Echo()), url=path).status_code == 200
    assert ask(behind(Echo()), "POST", "/").status_code == 401


def test_who_has_the_cookie_or_the_login_passes():
    assert ask(behind(Echo()), url="/any", headers={"Cookie": "token=good"}).status_code == 200
    assert ask(behind(Echo()), url="/any", headers={"Authorization": RIGHT}).status_code == 200


@pytest.mark.parametrize("form", [True, False])
def test_guesses_are_slowed_down_and_others_are_not(form: bool):
    app = behind(Echo(status=400))

    def guess(client: str) -> int:
        if form:
            return ask(app, "POST", "/login", client=client).status_code
        wrong = {"Authorization": "Basic bWU6d3Jvbmc="}
        return ask(app, url="/any", headers=wrong, client=client).status_code

    usual = 400 if form else 401
    assert [guess("10.0.0.1") for _ in range(FREE_GUESSES + 2)] == [usual] * FREE_GUESSES + [
        429
    ] * 2
    assert guess("10.0.0.2") == usual
    cookie = {"Cookie": "token=good"}
    assert ask(app, url="/any", headers=cookie, client="10.0.0.1").status_code == 400


def test_a_right_login_is_no_guess():
    app = behind(Echo())
    for _ in range(3 * FREE_GUESSES):
        assert ask(app, url="/any", headers={"Authorization": RIGHT}).status_code == 200
        assert ask(app, "POST", "/login").status_code == 200


def test_the_wait_doubles_has_an_end_and_is_forgotten():
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    waits = []
    for _ in range(FREE_GUESSES + 12):
        guesses.count("10.0.0.1")
        waits.append(guesses.wait_s("10.0.0.1"))
    assert waits[: FREE_GUESSES + 2] == [0, 0, 0, 0, 1, 2, 4]
    assert waits[-1] == LONGEST_WAIT_S
    now[0] = 61
    assert guesses.wait_s("10.0.0.1") == 0
    guesses.forget("10.0.0.1")
    guesses.count("10.0.0.1")
    assert guesses.wait_s("10.0.0.1") == 0


def test_a_network_of_six_counts_as_one_and_memory_is_bounded():
    guesses = Guesses()
    for number in range(FREE_GUESSES):
        guesses.count(f"2001:db8::{number}")
    assert guesses.wait_s("2001:db8::ffff") > 0
    for number in range(2 * MOST_ADDRESSES):
        guesses.count(f"10.0.{number // 256}.{number % 256}")
    assert guesses.wait_s("2001:db8::1") == 0
