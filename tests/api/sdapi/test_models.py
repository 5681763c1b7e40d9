"""The model's memory is given up on request and taken again by itself."""

from __future__ import annotations

import gc
import weakref

import httpx

from tests.api.conftest import Served

PLAIN = {"prompt": "a red star", "steps": 1, "width": 64, "height": 64, "seed": 5}


def test_a_model_is_unloaded_and_the_next_request_loads_it_again(
    client: httpx.Client, served: Served
):
    before = client.post("/txt2img", json=PLAIN).json()["images"]
    unet = weakref.ref(served.studio.models.get().unet)
    assert client.post("/unload-checkpoint", json="").status_code == 200
    gc.collect()
    assert unet() is None and served.studio.models.state.unloaded
    assert client.get("/options").json()["sd_model_checkpoint"]
    assert client.post("/txt2img", json=PLAIN).json()["images"] == before
    client.post("/unload-checkpoint", json="")
    assert client.post("/reload-checkpoint", json="").status_code == 200
    assert served.studio.models.state.model is not None
