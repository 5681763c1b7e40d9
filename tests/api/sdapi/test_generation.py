"""What is being drawn can be watched, skipped and ended, and waits in line."""

from __future__ import annotations

import json
import threading

import httpx
import pytest

from tests.api.conftest import Served, opened
from tests.parts import wait_until

LONG = {"prompt": "a red star", "steps": 150, "width": 512, "height": 512, "seed": 5}
SHORT = {"prompt": "a red star", "steps": 1, "width": 64, "height": 64, "seed": 5}


class Asked:
    """A request on its way in a thread."""

    def __init__(self, client: httpx.Client, body: dict) -> None:
        self.answer: httpx.Response | None = None
        self._thread = threading.Thread(target=self._ask, args=(client, body))
        self._thread.start()

    def _ask(self, client: httpx.Client, body: dict) -> None:
        self.answer = client.post("/txt2img", json=body)

    def result(self) -> dict:
        self._thread.join(180)
        assert self.answer is not None and self.answer.status_code == 200
        return self.answer.json()


def state(client: httpx.Client) -> dict:
    return client.get("/progress", params={"skip_current_image": True}).json()["state"]


def test_progress_tells_steps_and_shows_the_picture(client: httpx.Client):
    asked = Asked(client, LONG)
    wait_until(lambda: state(client)["sampling_step"] > 2)
    wait_until(lambda: client.get("/progress").json()["current_image"] is not None)
    said = client.get("/progress").json()
    assert 0 < said["progress"] < 1 and said["eta_relative"] > 0
    assert said["state"]["sampling_steps"] == 150 and said["state"]["job_count"] == 1
    assert said["state"]["job"] and said["state"]["job_timestamp"].startswith("20")
    assert opened(said["current_image"]).size == (512, 512)
    client.post("/interrupt")
    answer = asked.result()
    assert [opened(image).size for image in answer["images"]] == [(512, 512)], "as far as it got"
    assert json.loads(answer["info"])["all_seeds"] == [5]
    assert state(client)["job_count"] == 0


def test_interrupt_keeps_the_batches_that_are_done(client: httpx.Client):
    asked = Asked(client, LONG | {"steps": 2, "n_iter": 100, "width": 128, "height": 128})
    wait_until(lambda: state(client)["job_no"] >= 2)
    client.post("/interrupt")
    seeds = json.loads(asked.result()["info"])["all_seeds"]
    assert 2 <= len(seeds) < 100 and seeds[:2] == [5, 6]


def test_skip_goes_on_with_the_next_batch(client: httpx.Client):
    asked = Asked(client, LONG | {"n_iter": 2})
    wait_until(lambda: state(client)["sampling_step"] > 1)
    client.post("/skip")
    wait_until(lambda: state(client)["job_no"] == 1 or state(client)["job_count"] == 0)
    client.post("/interrupt")
    assert set(json.loads(asked.result()["info"])["all_seeds"]) <= {6}


def test_requests_wait_for_each_other(client: httpx.Client):
    first, second = Asked(client, SHORT), Asked(client, SHORT | {"seed": 6})
    assert json.loads(first.result()["info"])["all_seeds"] == [5]
    assert json.loads(second.result()["info"])["all_seeds"] == [6]


def test_a_client_that_goes_away_leaves_nothing_to_be_drawn(client: httpx.Client, served: Served):
    with pytest.raises(httpx.ReadTimeout):
        client.post("/txt2img", json=LONG, timeout=0.5)
    wait_until(lambda: not served.studio.generating.running())
    assert client.post("/txt2img", json=SHORT).status_code == 200
