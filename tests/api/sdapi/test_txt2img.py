"""Requests as clients of AUTOMATIC1111's web UI send them, answered as they expect."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import torch

from tests.api.conftest import Served, opened
from webui.generation.styles import Style

PLAIN = {"prompt": "a red star", "steps": 2, "width": 64, "height": 64, "seed": 5}
WEBUIAPI = {
    "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0,
    "hr_resize_x": 0, "hr_resize_y": 0, "denoising_strength": 0.7, "firstphase_width": 0,
    "firstphase_height": 0, "prompt": "cute squirrel", "styles": [], "seed": 1003, "subseed": -1,
    "subseed_strength": 0.0, "seed_resize_from_h": 0, "seed_resize_from_w": 0, "batch_size": 1,
    "n_iter": 1, "steps": 2, "cfg_scale": 7.0, "width": 64, "height": 64, "restore_faces": False,
    "tiling": False, "do_not_save_samples": False, "do_not_save_grid": False,
    "negative_prompt": "ugly, out of frame", "eta": 1.0, "s_churn": 0, "s_tmax": 0, "s_tmin": 0,
    "s_noise": 1, "override_settings": {}, "override_settings_restore_afterwards": True,
    "sampler_name": "Euler a", "sampler_index": "Euler a", "script_name": None, "script_args": [],
    "send_images": True, "save_images": False, "alwayson_scripts": {},
}  # fmt: skip
"""What a client library sends, all its defaults spelled out."""
CHAT = {
    "prompt": "a cat", "negative_prompt": "bad", "sampler_name": "DPM++ 2M",
    "scheduler": "karras", "steps": 2, "cfg_scale": 7, "width": 64, "height": 64,
    "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent", "hr_scale": 1.5,
    "hr_additional_modules": [], "denoising_strength": 0.7, "hr_second_pass_steps": 0, "seed": -1,
    "override_settings": {"CLIP_stop_at_last_layers": 1},
    "override_settings_restore_afterwards": True, "clip_skip": 1, "save_images": True,
    "send_images": True, "do_not_save_grid": False, "do_not_save_samples": False,
}  # fmt: skip
"""What a chat front end sends."""


def draw(client: httpx.Client, body: dict) -> dict:
    answer = client.post("/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_plain_request_gets_a_picture_with_its_parameters(client: httpx.Client, served: Served):
    kept = list(served.outputs.glob("txt2img/*/*.png"))
    said = draw(client, PLAIN)
    image = opened(said["images"][0])
    assert image.size == (64, 64)
    info = json.loads(said["info"])
    assert info["all_seeds"] == [5] and info["infotexts"] == [image.text["parameters"]]
    assert "Steps: 2" in image.text["parameters"]
    assert said["parameters"]["steps"] == 2 and said["parameters"]["n_iter"] == 1
    assert list(served.outputs.glob("txt2img/*/*.png")) == kept, "nothing is kept unless asked"


def test_an_equal_request_gives_an_equal_picture(client: httpx.Client):
    assert draw(client, PLAIN)["images"] == draw(client, PLAIN)["images"]


def test_a_client_librarys_request_is_understood(client: httpx.Client):
    said = draw(client, WEBUIAPI)
    info = json.loads(said["info"])
    assert info["sampler_name"] == "Euler a" and info["seed"] == 1003
    assert info["negative_prompt"] == "ugly, out of frame"
    assert said["parameters"]["sampler_name"] == "Euler a"
    assert info["warnings"] == []


def test_a_chat_front_ends_pictures_are_kept(client: httpx.Client, served: Served):
    before = set(served.outputs.glob("txt2img/*/*.png"))
    info = json.loads(draw(client, CHAT)["info"])
    [kept] = set(served.outputs.glob("txt2img/*/*.png")) - before
    assert kept.name.endswith(f"-{info['seed']}.png")
    assert "Schedule type: Karras" in info["infotexts"][0]


def test_batches_count_their_seeds_up(client: httpx.Client):
    said = draw(client, PLAIN | {"batch_size": 2, "n_iter": 2})
    assert json.loads(said["info"])["all_seeds"] == [5, 6, 7, 8]
    assert len(said["images"]) == 4


@pytest.mark.parametrize(
    ("fields", "sampler", "schedule"),
    [
        ({"sampler_index": "Euler"}, "Euler", "Automatic"),
        ({"sampler_name": "DPM++ 2M Karras"}, "DPM++ 2M", "Karras"),
        ({"sampler_name": "k_dpmpp_2s_a", "scheduler": "beta"}, "DPM++ 2S a", "Beta"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "exponential"}, "DPM++ 2M", "Exponential"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "SGM Uniform"}, "DPM++ 2M", "SGM Uniform"),
        ({}, "Euler", "Automatic"),
    ],
)
def test_samplers_go_by_all_their_names(
    client: httpx.Client, fields: dict, sampler: str, schedule: str
):
    info = json.loads(draw(client, PLAIN | fields)["info"])
    assert info["sampler_name"] == sampler
    assert info["extra_generation_params"]["Schedule type"] == schedule


def test_eta_acts_and_is_told(client: httpx.Client):
    plain = draw(client, PLAIN | {"sampler_name": "DDIM"})
    noisy = draw(client, PLAIN | {"sampler_name": "DDIM", "eta": 1})
    assert noisy["images"] != plain["images"] and noisy["parameters"]["eta"] == 1
    assert "Eta DDIM: 1," in json.loads(noisy["info"])["infotexts"][0]
    [warning] = json.loads(draw(client, PLAIN | {"eta": 1})["info"])["warnings"]
    assert "no effect with the sampler Euler" in warning


def test_a_scheduler_that_a_sampler_passes_over_is_said(client: httpx.Client):
    body = PLAIN | {"sampler_name": "DDIM", "scheduler": "karras"}
    [warning] = json.loads(draw(client, body)["info"])["warnings"]
    assert "The schedule type has no effect with the sampler DDIM" in warning


def test_what_clients_say_of_noise_is_taken(client: httpx.Client):
    usual = {"seed_resize_from_w": -1, "s_tmin": 0, "s_noise": 1, "s_churn": 0}
    plain = draw(client, PLAIN | usual)
    assert plain["images"] == draw(client, PLAIN)["images"]
    for change in (
        {"s_churn": 5},
        {"seed_resize_from_w": 48, "seed_resize_from_h": 96},
        {"override_settings": {"randn_source": "CPU"}},
    ):
        assert draw(client, PLAIN | change)["images"] != plain["images"]


def test_pictures_can_be_left_out_of_the_answer(client: httpx.Client):
    said = draw(client, PLAIN | {"send_images": False})
    assert said["images"] == [] and json.loads(said["info"])["all_seeds"] == [5]


def test_override_settings_hold_for_one_request(client: httpx.Client):
    body = PLAIN | {"override_settings": {"CLIP_stop_at_last_layers": 2, "emphasis": "No norm"}}
    text = json.loads(draw(client, body)["info"])["infotexts"][0]
    assert "Clip skip: 2" in text and "Emphasis: No norm" in text
    assert client.get("/options").json()["CLIP_stop_at_last_layers"] == 1
    draw(client, body | {"override_settings_restore_afterwards": False})
    assert client.get("/options").json()["CLIP_stop_at_last_layers"] == 2
    client.post("/options", json={"CLIP_stop_at_last_layers": 1, "emphasis": "Original"})


def test_another_model_can_draw_one_request(client: httpx.Client):
    body = PLAIN | {"override_settings": {"sd_model_checkpoint": "zebra"}}
    info = json.loads(draw(client, body)["info"])
    assert info["sd_model_name"] == "zebra" and "Model: zebra" in info["infotexts"][0]
    assert client.get("/options").json()["sd_model_checkpoint"].startswith("tiny"), "still chosen"
    assert json.loads(draw(client, PLAIN)["info"])["sd_model_name"] == "tiny"


def test_another_vae_can_decode_one_request(client: httpx.Client):
    assert [vae["model_name"] for vae in client.get("/sd-vae").json()] == ["soft.safetensors"]
    plain = draw(client, PLAIN)
    said = draw(client, PLAIN | {"override_settings": {"sd_vae": "soft.safetensors"}})
    info = json.loads(said["info"])
    assert info["sd_vae_name"] == "soft.safetensors" and len(info["sd_vae_hash"]) == 10
    assert f"VAE hash: {info['sd_vae_hash']}, VAE: soft.safetensors" in info["infotexts"][0]
    assert said["images"] != plain["images"]
    assert client.get("/options").json()["sd_vae"] == "Automatic"
    assert "VAE" not in json.loads(draw(client, PLAIN)["info"])["infotexts"][0]


def test_a_model_that_cannot_be_loaded_leaves_the_one_before(client: httpx.Client):
    body = PLAIN | {"override_settings": {"sd_model_checkpoint": "zz-broken"}}
    answer = client.post("/txt2img", json=body)
    assert answer.status_code == 422 and "zz-broken" in answer.json()["detail"]
    assert json.loads(draw(client, PLAIN)["info"])["sd_model_name"] == "tiny"


def test_an_infotext_gives_what_the_request_leaves_out(client: httpx.Client):
    text = "a blue fish\nSteps: 3, Sampler: DDIM, CFG scale: 2, Seed: 77, Size: 64x64"
    info = json.loads(draw(client, {"infotext": text, "steps": 2})["info"])
    assert (info["prompt"], info["seed"], info["steps"]) == ("a blue fish", 77, 2)
    assert info["sampler_name"] == "DDIM"


def test_fields_nobody_knows_are_named_in_the_answer(client: httpx.Client):
    said = draw(client, PLAIN | {"mood": "merry"})
    assert "mood" in json.loads(said["info"])["warnings"][0]


def test_png_info_gives_back_what_txt2img_wrote(client: httpx.Client):
    said = draw(client, PLAIN)
    for head in ("", "data:image/png;base64,"):
        told = client.post("/png-info", json={"image": head + said["images"][0]}).json()
        assert told["info"] == json.loads(said["info"])["infotexts"][0]
        assert told["parameters"]["Seed"] == "5" and told["parameters"]["Prompt"] == "a red star"


def test_idle_progress_is_what_waiting_clients_look_for(client: httpx.Client):
    said = client.get("/progress", params={"skip_current_image": True}).json()
    assert said["progress"] == 0 and said["state"]["job_count"] == 0
    assert client.post("/interrupt").json() == {} and client.post("/skip").json() == {}


def test_lists_have_the_shapes_of_a1111(client: httpx.Client):
    samplers = client.get("/samplers").json()
    assert {"name", "aliases", "options"} == set(samplers[0])
    aliases = {sampler["name"]: sampler["aliases"] for sampler in samplers}
    assert aliases["Euler a"] == ["k_euler_a", "k_euler_ancestral"]
    assert (aliases["LMS"], aliases["DPM adaptive"]) == (["k_lms"], ["k_dpm_ad"])
    labels = {item["name"]: item["label"] for item in client.get("/schedulers").json()}
    assert labels["sgm_uniform"] == "SGM Uniform"
    model, other, _ = client.get("/sd-models").json()
    assert model["model_name"] == "tiny" and model["title"] == f"tiny [{model['hash']}]"
    assert (other["title"], other["hash"]) == ("zebra", None)
    assert client.get("/loras").json() == []
    assert client.get("/memory").json()["ram"]["total"] > 0
    assert client.post("/refresh-checkpoints").status_code == 200


def test_styles_are_listed_and_applied(client: httpx.Client, served: Served):
    served.studio.styles.save(Style("soft", "{prompt}, soft light", "harsh"))
    [style] = client.get("/prompt-styles").json()
    assert style == {"name": "soft", "prompt": "{prompt}, soft light", "negative_prompt": "harsh"}
    info = json.loads(draw(client, PLAIN | {"styles": ["soft"]})["info"])
    assert info["all_prompts"] == ["a red star, soft light"]
    assert info["all_negative_prompts"] == ["harsh"]


def test_a_second_pass_makes_the_picture_larger(client: httpx.Client):
    said = draw(client, PLAIN | {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.6})
    assert opened(said["images"][0]).size == (128, 128)


def test_a_second_pass_has_settings_of_its_own(client: httpx.Client):
    own = {"hr_sampler_name": "k_heun", "hr_scheduler": "karras", "hr_prompt": "a red star, ink"}
    said = draw(client, PLAIN | {"enable_hr": True, "hr_scale": 1, **own})
    [text] = json.loads(said["info"])["infotexts"]
    assert "Hires sampler: Heun, " in text and "Hires schedule type: Karras, " in text
    assert 'Hires prompt: "a red star, ink"' in text
    names = [item["name"] for item in client.get("/upscalers").json()]
    assert names == ["None", "Lanczos", "Nearest"]
    assert {"name": "Latent (bicubic)"} in client.get("/latent-upscale-modes").json()


def test_options_can_be_read_changed_and_sent_back_whole(client: httpx.Client):
    options = client.get("/options").json()
    assert options["sd_model_checkpoint"].startswith("tiny [")
    assert client.post("/options", json=options | {"emphasis": "Ignore"}).status_code == 200
    assert client.get("/options").json()["emphasis"] == "Ignore"
    assert client.post("/options", json={"emphasis": "Original"}).status_code == 200
    for name in ("tiny", options["sd_model_checkpoint"], options["sd_checkpoint_hash"]):
        assert client.post("/options", json={"sd_model_checkpoint": name}).status_code == 200


def test_embeddings_are_listed_made_and_used(client: httpx.Client, served: Served):
    body = {"name": "my-star", "num_vectors_per_token": 3, "init_text": "star"}
    made = client.post("/create/embedding", json=body)
    assert "create embedding filename" in made.json()["info"]
    listed = client.get("/embeddings").json()
    assert listed["loaded"]["my-star"]["vectors"] == 3
    assert listed["loaded"]["my-star"]["shape"] == 128
    drawn = draw(client, PLAIN | {"prompt": "a my-star"})
    assert "TI hashes" in json.loads(drawn["info"])["infotexts"][0]
    wide = {"string_to_param": {"*": torch.randn(1, 768)}}
    torch.save(wide, Path(served.embeddings) / "wide.pt")
    assert client.post("/refresh-embeddings").status_code == 200
    skipped = client.get("/embeddings").json()["skipped"]
    assert skipped["wide"]["shape"] == 768 and "768" in skipped["wide"]["reason"]
    again = client.post("/create/embedding", json=body)
    assert again.status_code == 422 and again.json()["field"] == "name"
    assert client.post("/create/embedding", json=body | {"overwrite_old": True}).status_code == 200
