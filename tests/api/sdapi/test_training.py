"""Embeddings are trained over the API, waiting for the end or watching it."""

from __future__ import annotations

import base64
import io
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Served, picture_text
from tests.hostile.faulty_disks import FullDisk
from tests.parts import wait_until
from webui import files
from webui.job_state import JobState
from webui.training.runs.run_folder import Run
from webui.training.trials import words

QUICK = {"steps": 2, "batch_size": 1, "create_image_every": 0, "training_width": 64}


def body(name: str, **fields: Any) -> dict[str, Any]:
    return QUICK | {"embedding_name": name, "pictures": [picture_text() for _ in range(3)]} | fields


@pytest.mark.slow
def test_a_run_is_started_and_watched_to_its_end(client: httpx.Client):
    started = client.post("/train/embedding", json=body("api-mug", init_text="mug", wait=False))
    assert started.status_code == 200, started.text
    place = f"/train/embedding/{started.json()['run']['run_id']}"
    assert place in started.json()["info"]
    wait_until(lambda: client.get(place).json()["state"] == "finished")
    run = client.get(place).json()
    assert run["step"] == run["steps"] == 2 and run["progress"] == 1
    assert Path(run["filename"]).is_file() and run["verdict"]
    assert "api-mug" in client.get("/embeddings").json()["loaded"]


def test_a1111s_two_requests_make_and_train_an_embedding(client: httpx.Client, tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(base64.b64decode(picture_text()))
    (tmp_path / "notes.pdf").write_bytes(b"no image")
    made = {"name": "api-star", "num_vectors_per_token": 2, "init_text": "star"}
    assert client.post("/create/embedding", json=made).status_code == 200
    said = client.post(
        "/train/embedding",
        json={
            "id_task": "t", "embedding_name": "api-star", "learn_rate": "0.005", "steps": 2,
            "batch_size": 1, "gradient_step": 1, "data_root": str(tmp_path),
            "log_directory": "textual_inversion", "training_width": 64, "training_height": 64,
            "varsize": False, "clip_grad_mode": "disabled", "clip_grad_value": "0.1",
            "shuffle_tags": False, "tag_drop_out": 0, "latent_sampling_method": "once",
            "use_weight": False, "create_image_every": 0, "save_embedding_every": 500,
            "template_filename": "subject.txt", "save_image_with_stored_embedding": True,
            "preview_from_txt2img": False, "preview_prompt": "", "preview_negative_prompt": "",
            "preview_steps": 20, "preview_sampler_name": "Euler a", "preview_cfg_scale": 7,
            "preview_seed": -1, "preview_width": 512, "preview_height": 512,
        },
    )  # fmt: skip
    assert said.status_code == 200, said.text
    assert "train embedding complete" in said.json()["info"]
    assert said.json()["skipped"] == ["notes.pdf"]
    card = client.get("/embeddings").json()["loaded"]["api-star"]
    assert card["vectors"] == 2 and card["step"] > 0


def test_pictures_of_several_shapes_keep_them_and_tags_are_drawn_by_lot(
    client: httpx.Client, served: Served
):
    pictures = [picture_text(size) for size in ((96, 64), (64, 96), (64, 64))]
    request = body(
        "api-vase",
        init_text="vase",
        pictures=pictures,
        captions=["red, tall", "blue", "green, small"],
        varsize=True,
        shuffle_tags=True,
        tag_drop_out=0.25,
    )
    answer = client.post("/train/embedding", json=request)
    assert answer.status_code == 200, answer.text
    folder = served.outputs / "train" / answer.json()["run"]["run_id"]
    recipe = Run(folder).record().recipe
    assert (recipe.buckets, recipe.shuffle_tags, recipe.tag_dropout) == (True, True, 0.25)
    assert recipe.caption_mode == "filewords"


def test_interrupt_ends_the_run_that_a_client_waits_for(client: httpx.Client, served: Served):
    answers: list[httpx.Response] = []
    request = body("api-long", init_text="mug", steps=5000)
    asking = threading.Thread(
        target=lambda: answers.append(client.post("/train/embedding", json=request))
    )
    asking.start()
    wait_until(lambda: client.get("/progress").json()["state"]["sampling_step"] >= 2)
    assert client.get("/progress").json()["state"]["job"] == "train-embedding"
    client.post("/interrupt")
    asking.join(180)
    assert answers[0].status_code == 200 and answers[0].json()["run"]["step"] < 5000
    assert "api-long" in client.get("/embeddings").json()["loaded"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embedding_name", "never-made"),
        ("data_root", "/no/such/folder"),
        ("data_root", None),
        ("data_root", "a\0b"),
        ("pictures", ["aGVsbG8="] * 3),
        ("pictures", ["no base64!"]),
        ("captions", ["one"]),
        ("learn_rate", "fast"),
        ("steps", 0),
        ("batch_size", 1000),
        ("num_vectors_per_token", 99),
        ("training_height", 32),
        ("template_filename", "none.txt"),
        ("tag_drop_out", 1.5),
        ("clip_grad_mode", "value"),
        ("preset", "unknown"),
        ("mood", "merry"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(client: httpx.Client, field: str, value: Any):
    request = body("api-cup", init_text="cup")
    if field == "embedding_name":
        del request["init_text"]
    if field == "data_root":
        del request["pictures"]
    answer = client.post("/train/embedding", json=request | {field: value})
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"].partition(".")[0] == field


def test_the_network_is_not_told_which_folders_there_are(
    client: httpx.Client, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = replace(served.studio.settings, host="0.0.0.0")
    monkeypatch.setattr(served.studio, "settings", settings)
    (tmp_path / "0.png").write_bytes(base64.b64decode(picture_text()))
    request = body("api-cup", init_text="cup")
    del request["pictures"]
    answers = [
        client.post("/train/embedding", json=request | {"data_root": str(folder)})
        for folder in (tmp_path, tmp_path / "none", served.outputs / ".." / ".." / "none")
    ]
    assert [answer.status_code for answer in answers] == [422] * 3
    assert len({answer.text for answer in answers}) == 1 and "must lie in" in answers[0].text


def test_a_full_disk_is_said_and_leaves_no_half_run(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
):
    runs = set((served.outputs / "train").iterdir())
    for room in (0, 3):
        with monkeypatch.context() as patch:
            patch.setattr(files, "disk", FullDisk(room))
            answer = client.post("/train/embedding", json=body("api-full", init_text="cup"))
        assert answer.status_code in (422, 507) and "The disk is full" in answer.text
        assert set((served.outputs / "train").iterdir()) == runs


def test_a_run_that_is_not_there_is_not_found(client: httpx.Client):
    for path in ("unknown", "..%2F..", "%2Fetc"):
        assert client.get(f"/train/embedding/{path}").status_code == 404


def test_a_run_tells_its_recipe_and_how_it_goes(client: httpx.Client):
    request = body("api-told", init_text="mug", lr_scheduler="constant", wait=True)
    run = client.post("/train/embedding", json=request).json()["run"]
    assert run["recipe"]["lr_scheduler"] == "constant" and run["recipe"]["batch_size"] == 1
    assert run["learning_rate"] > 0 and run["norm_ratio"] > 0 and len(run["data"]) == 3
    assert any("gain" in line for line in run["log"])


def test_files_of_templates_are_read_where_they_are(client: httpx.Client, served: Served):
    folder = served.studio.settings.templates_dir
    folder.mkdir()
    (folder / "subject.txt").write_text("a drawing of [name]\n")
    request = body("api-drawn", init_text="mug", template_filename="subject.txt")
    run = client.post("/train/embedding", json=request).json()["run"]
    assert run["recipe"]["templates"] == ["a drawing of [name]"]
    request = body("api-drawn-2", init_text="mug", template_filename="../subject.txt")
    assert client.post("/train/embedding", json=request).status_code == 422


@pytest.mark.slow
def test_runs_are_listed_steered_installed_deleted_and_brought_back(client: httpx.Client):
    asked = body("list-mug", init_text="mug", steps=5000, save_embedding_every=5, wait=False)
    first = client.post("/train/embedding", json=asked).json()["run"]["run_id"]
    asked = body("list-cup", init_text="cup", wait=False)
    second = client.post("/train/embedding", json=asked).json()["run"]["run_id"]
    place = f"/train/embedding/{first}"
    wait_until(lambda: client.get(place).json()["step"] >= 6)

    def lines() -> dict[str, Any]:
        return {line["run_id"]: line for line in client.get("/train/runs").json()}

    assert (lines()[first]["state"], lines()[first]["turn"]) == ("training", None)
    assert (lines()[second]["state"], lines()[second]["turn"]) == ("queued", 1)
    assert {first, second} <= set(lines())
    refused = client.delete(place)
    assert refused.status_code == 422 and "pause or cancel it first" in refused.json()["detail"]
    assert client.post(f"{place}/pause").json()["state"] in ("pausing", "paused")
    wait_until(lambda: lines()[first]["state"] == "paused")
    assert 5 in lines()[first]["checkpoints"]
    installed = client.post(f"{place}/install", json={"step": 5}).json()["filename"]
    assert Path(installed).is_file() and lines()[first]["filename"] == installed
    assert client.post(f"{place}/install", json={"step": 4}).status_code == 422
    assert client.delete(place).json() == {}
    assert first not in lines() and client.get(place).status_code == 404
    assert client.post(f"{place}/restore").json()["state"] == "paused"
    assert client.post(f"{place}/resume").json()["state"] in ("queued", "preparing", "training")
    wait_until(lambda: lines()[first]["state"] == "training")
    client.post(f"{place}/interrupt")
    wait_until(lambda: JobState(lines()[first]["state"]).ended)
    assert lines()[first]["state"] == "finished", lines()[first]["message"]
    assert client.post("/train/embedding/none/resume").status_code == 404
    assert client.delete("/train/embedding/..%2Fgone").status_code == 404


def test_words_are_suggested_for_pictures(client: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(words, "ROUNDS", ((1, 5),))
    known = ("star", "circle", "heart", "house", "mushroom", "fish", "ring")
    monkeypatch.setitem(words.CANDIDATES, "object", known)
    asked = {"pictures": [picture_text() for _ in range(3)]}
    found = client.post("/train/suggest", json=asked).json()
    assert len(found) == 5 and set(found[0]) == {"name", "word", "error", "gain"}
    files = io.BytesIO()
    with zipfile.ZipFile(files, "w") as archive:
        for number in range(6):
            place = f"pets/{('my-cat', 'my-dog')[number % 2]}/{number}.png"
            archive.writestr(place, base64.b64decode(picture_text()))
    both = {
        "archive": base64.b64encode(files.getvalue()).decode(),
        "embedding_name": "my-cat,my-dog",
    }
    found = client.post("/train/suggest", json=both).json()
    assert [each["name"] for each in found] == ["my-cat"] * 5 + ["my-dog"] * 5
    refused = client.post("/train/suggest", json=both | {"archive": asked["pictures"][0]})
    assert refused.status_code == 422 and "no zip file" in refused.text
    refused = client.post("/train/suggest", json=asked | {"kind": "mug"})
    assert refused.status_code == 422 and "kind" in refused.text
