"""The requests of real clients, as their sources build them, are answered so that they go on.

Written by reading the sources that docs/api.md names; only steps and sizes are smaller, as people
could set them there too.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import webuiapi

from tests.api.conftest import Served, opened, picture_text

SMALL = {"steps": 1, "width": 64, "height": 64}
PLAIN = {"prompt": "a red star", "negative_prompt": "blurry", "cfg_scale": 7, **SMALL}
DATA_URI = "data:image/png;base64,"


def got(client: httpx.Client, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sent(client: httpx.Client, path: str, body: Any = None) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def drawn(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """Return ``info`` of one request, once its first picture is one of the size asked for."""
    said = sent(client, "/txt2img", body)
    assert opened(said["images"][0]).size == (body["width"], body["height"])
    return json.loads(said["info"])


def missing(client: httpx.Client, path: str, body: dict[str, Any]) -> str:
    """Return the words that people are shown of what is not there yet."""
    answer = client.post(path, json=body)
    assert answer.status_code == 404
    said = answer.json()
    assert said["detail"] == said["message"] != "Not Found"
    return said["detail"]


def names(client: httpx.Client, path: str, key: str = "name") -> list[str]:
    return [item[key] for item in got(client, path)]


def test_open_webui(client: httpx.Client):
    options = got(client, "/options")
    assert all(item["title"] and item["model_name"] for item in got(client, "/sd-models"))
    options["sd_model_checkpoint"] = got(client, "/sd-models")[0]["title"]
    sent(client, "/options", options)
    assert got(client, "/options")["sd_model_checkpoint"].startswith(options["sd_model_checkpoint"])
    body = {"prompt": "a cat", "batch_size": 1, "negative_prompt": "ugly", **SMALL}
    assert drawn(client, body)["prompt"] == "a cat"


def test_librechat(client: httpx.Client):
    info = drawn(client, {"prompt": "a", "negative_prompt": "b", "cfg_scale": 4.5, **SMALL})
    assert (info["width"], info["height"]) == (64, 64) and isinstance(info["seed"], int)
    assert info["infotexts"][0].split("\n")[-1].startswith("Steps:")


def test_risuai_and_agnai(client: httpx.Client):
    more = {"denoising_strength": 0.7, "hr_scale": 1.25, "hr_upscaler": "Latent"}
    body = PLAIN | {"seed": -1, "sampler_name": "Euler a", "enable_hr": False, **more}
    assert drawn(client, body)["sampler_name"] == "Euler a"
    more = {"n_iter": 1, "batch_size": 1, "restore_faces": False, "save_images": False}
    body = PLAIN | {"seed": 7, "sampler_name": "DPM++ 2M", "send_images": True, **more}
    assert drawn(client, body)["all_seeds"] == [7]
    wrong = client.post("/txt2img", json=body | {"steps": 900}).json()
    assert "Steps must be" in wrong["message"], "which is what Agnai shows"


def test_sillytavern(client: httpx.Client):
    assert "forge_preset" not in got(client, "/options")
    assert names(client, "/upscalers")[0] == "None", "others are put in behind the first"
    assert "Latent" in names(client, "/latent-upscale-modes")
    assert names(client, "/sd-vae", "model_name") == ["soft.safetensors"]
    assert "Euler a" in names(client, "/samplers") and "karras" in names(client, "/schedulers")
    title = names(client, "/sd-models", "title")[0]
    sent(client, "/options", {"sd_model_checkpoint": title})
    progress = got(client, "/progress")
    assert (progress["progress"], progress["state"]["job_count"]) == (0, 0)
    body = PLAIN | {
        "sampler_name": "DPM++ 2M", "scheduler": "karras", "seed": -1, "restore_faces": False,
        "enable_hr": False, "hr_upscaler": "Latent", "hr_scale": 1.5, "denoising_strength": 0.7,
        "hr_second_pass_steps": 0, "hr_additional_modules": [], "clip_skip": 1,
        "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"},
        "override_settings_restore_afterwards": True, "save_images": False, "send_images": True,
        "do_not_save_grid": False, "do_not_save_samples": False,
    }  # fmt: skip
    assert drawn(client, body)["warnings"] == []
    sent(client, "/interrupt")


def test_koboldai_lite(client: httpx.Client):
    title = got(client, "/sd-models")[0]["title"]
    assert got(client, "/options")["samples_format"] == "png"
    body = PLAIN | {
        "seed": 1, "sampler_name": "Euler a", "batch_size": 1, "n_iter": 1, "enable_hr": False,
        "do_not_save_samples": True, "do_not_save_grid": True, "eta": 0, "s_churn": 0,
        "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "clip_skip": 1,
        "override_settings": {
            "sd_model_checkpoint": title, "eta_noise_seed_delta": 0.0,
            "CLIP_stop_at_last_layers": 1.0, "ddim_discretize": "uniform",
            "img2img_fix_steps": False, "sd_hypernetwork": "None", "inpainting_mask_weight": 1.0,
            "initial_noise_multiplier": 1.0, "comma_padding_backtrack": 20.0,
        },
    }  # fmt: skip
    warnings = drawn(client, body)["warnings"]
    assert any("ddim_discretize" in warning for warning in warnings)
    nothing_chosen = body["override_settings"] | {"sd_model_checkpoint": ""}
    drawn(client, body | {"override_settings": nothing_chosen})
    image = picture_text()
    assert "not there yet" in missing(client, "/img2img", body | {"init_images": [image]})
    assert "describes images" in missing(client, "/interrogate", {"image": image, "model": "clip"})


def test_text_generation_webui(client: httpx.Client):
    assert client.post("/unload-checkpoint", json="").status_code == 200
    assert client.post("/reload-checkpoint", json="").status_code == 200
    assert got(client, "/options")["sd_model_checkpoint"] in names(client, "/sd-models", "title")
    assert names(client, "/samplers")
    body = PLAIN | {
        "prompt": "(Masterpiece:1.1), detailed(a star:1)", "seed": -1, "sampler_name": "DPM++ 2M",
        "enable_hr": False, "hr_scale": "1.0", "hr_upscaler": "ESRGAN_4x",
        "denoising_strength": 0.61, "restore_faces": False,
        "override_settings_restore_afterwards": True,
    }  # fmt: skip
    drawn(client, body)


def test_aiya(client: httpx.Client, served: Served):
    assert got(client, "/cmd-flags")["api"] is True
    for path in ("/samplers", "/prompt-styles", "/face-restorers", "/hypernetworks", "/upscalers"):
        assert all("name" in item for item in got(client, path))
    embeddings = got(client, "/embeddings")
    for group in ("loaded", "skipped"):
        assert all(isinstance(item["shape"], int) for item in embeddings[group].values())
    for model in got(client, "/sd-models"):
        assert model["filename"] and {"title", "model_name", "hash"} <= model.keys()
    config = httpx.get(f"{served.url}/config", timeout=180, verify=False).json()
    assert all("props" in component for component in config["components"])
    sent(client, "/options", {"sd_model_checkpoint": got(client, "/sd-models")[0]["title"]})
    body = {
        "prompt": "a star", "negative_prompt": "", **SMALL, "cfg_scale": "7.0",
        "sampler_index": "Euler a", "seed": 5, "seed_resize_from_h": 0, "seed_resize_from_w": 0,
        "denoising_strength": None, "n_iter": 1, "styles": ["None"],
        "override_settings": {"CLIP_stop_at_last_layers": 1},
    }  # fmt: skip
    [image] = sent(client, "/txt2img", body)["images"]
    assert sent(client, "/png-info", {"image": DATA_URI + image})["info"].startswith("a star")
    enlarged = {
        "upscaling_resize": 2.0, "upscaler_1": "Lanczos", "image": DATA_URI + image,
        "gfpgan_visibility": 0, "codeformer_visibility": 0, "upscale_first": False,
    }  # fmt: skip
    assert opened(sent(client, "/extra-single-image", enlarged)["image"]).size == (128, 128)


def test_ai_render(client: httpx.Client):
    models = [name for name in names(client, "/upscalers") if name != "None"]
    assert "Lanczos" in models
    body = PLAIN | {"init_images": [DATA_URI + picture_text()], "sampler": "LMS"}
    body |= {"image_similarity": 0.4, "denoising_strength": 0.6, "sampler_index": "LMS"}
    assert "not there yet" in missing(client, "/img2img", body)
    enlarged = {"resize_mode": 0, "upscaling_resize": 2, "upscaler_1": models[0]}
    said = sent(client, "/extra-single-image", enlarged | {"image": DATA_URI + picture_text()})
    assert opened(said["image"]).size == (192, 160)


def test_auto_photoshop(client: httpx.Client):
    assert isinstance(got(client, "/embeddings")["loaded"], dict)
    assert isinstance(names(client, "/loras"), list) and names(client, "/upscalers")
    assert got(client, "/scripts") == {"txt2img": [], "img2img": []}
    told = sent(client, "/options", {"inpainting_mask_weight": 1})
    assert "inpainting_mask_weight" in told["warnings"][0]
    assert "progress" in got(client, "/progress?skip_current_image=false")
    body = PLAIN | {
        "mode": "txt2img", "sampler_index": "Euler a", "batch_size": 1, "seed": "-1",
        "mask_blur": 8, "restore_faces": False, "enable_hr": False, "denoising_strength": 0.7,
        "uniqueDocumentId": "a-b", "use_prompt_shortcut": False, "prompt_shortcut_ui_dict": {},
        "alwayson_scripts": {}, "script_args": [], "script_name": "None",
    }  # fmt: skip
    drawn(client, body)
    assert missing(client, "/img2img", body | {"init_images": [picture_text()]})
    assert missing(client, "/interrogate", {"image": picture_text(), "model": "clip"})


def test_stable_art(client: httpx.Client):
    assert got(client, "/sd-models") and isinstance(got(client, "/prompt-styles"), list)
    body = PLAIN | {
        "enable_hr": False, "denoising_strength": 0, "firstphase_width": 0, "firstphase_height": 0,
        "styles": [], "seed": -1, "subseed": -1, "subseed_strength": 0, "seed_resize_from_h": -1,
        "seed_resize_from_w": -1, "batch_size": "2", "n_iter": 1, "restore_faces": False,
        "tiling": False, "eta": 0, "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1,
        "override_settings": {}, "sampler_index": "Euler a",
    }  # fmt: skip
    said = sent(client, "/txt2img", body)
    assert len(json.loads(said["info"])["all_seeds"]) == len(said["images"]) == 2
    assert (said["parameters"]["width"], said["parameters"]["height"]) == (64, 64)


def test_cyanic(client: httpx.Client, served: Served):
    status = httpx.get(f"{served.url}/queue/status", timeout=180, verify=False)
    assert status.status_code == 200 and status.json() is not None, "else it is not connected"
    listed = "sd-models sd-vae samplers upscalers face-restorers prompt-styles scripts loras"
    for name in (*listed.split(), "embeddings", "hypernetworks"):
        got(client, f"/{name}")
    options = got(client, "/options")
    body = PLAIN | {
        "sampler_name": "Euler a", "styles": [], "seed": -1, "subseed": -1, "batch_size": 1,
        "n_iter": 1, "refiner": "None", "refiner_switch_at": 0.8, "enable_hr": False,
        "override_settings": {
            "sd_model_checkpoint": options["sd_model_checkpoint"], "sd_vae": options["sd_vae"],
            "img2img_color_correction": True,
        },
        "override_settings_restore_afterwards": False, "alwayson_scripts": {},
    }  # fmt: skip
    assert drawn(client, body)["prompt"] == "a red star"


def test_webuiapi_from_the_package_index_drives_the_app_with_its_defaults(served: Served):
    address = urlsplit(served.url)
    api = webuiapi.WebUIApi(address.hostname, address.port, steps=1)
    found = api.txt2img(prompt="a star", width=64, height=64)
    assert found.image.size == (64, 64) and found.info["sampler_name"] == "Euler a"
    assert found.parameters["eta"] == 1.0 and found.info["warnings"] == []
    ddim = api.txt2img(prompt="a star", width=64, height=64, sampler_name="DDIM")
    assert "Eta" in ddim.info["infotexts"][0]
    assert api.png_info(found.image).info.startswith("a star")
    assert api.extra_single_image(found.image).image.size == (64, 64)
    larger = api.extra_batch_images([found.image] * 2, upscaler_1=webuiapi.Upscaler.Lanczos)
    assert [image.size for image in larger.images] == [(128, 128)] * 2
    for listed in (
        api.get_samplers, api.get_sd_vae, api.get_upscalers, api.get_latent_upscale_modes,
        api.get_loras, api.get_sd_models, api.get_hypernetworks, api.get_face_restorers,
        api.get_realesrgan_models, api.get_prompt_styles, api.get_schedulers,
    ):  # fmt: skip
        assert isinstance(listed(), list)
    for told in (api.get_options, api.get_cmd_flags, api.get_progress, api.get_scripts,
                 api.get_embeddings, api.get_memory, api.refresh_checkpoints, api.interrupt,
                 api.skip):  # fmt: skip
        assert isinstance(told(), dict)
    api.util_set_model(api.util_get_model_names()[0])
    assert api.util_get_current_model() in api.util_get_model_names()
    for refused in (
        lambda: api.img2img(images=[found.image], prompt="a star"),
        lambda: api.interrogate(found.image),
    ):
        with pytest.raises(RuntimeError, match="404"):
            refused()


def test_servers_of_tools_for_language_models(client: httpx.Client):
    for model in got(client, "/sd-models"):
        assert {"title", "model_name", "hash", "sha256", "filename", "config"} <= model.keys()
    assert all(isinstance(item["options"], dict) for item in got(client, "/samplers"))
    assert names(client, "/upscalers")
    assert {"current_image", "textinfo"} <= got(client, "/progress").keys()
    body = PLAIN | {
        "sampler_name": "Euler", "seed": -1, "n_iter": 1, "tiling": False, "restore_faces": False,
        "distilled_cfg_scale": 3.5, "scheduler": "Simple",
    }  # fmt: skip
    [image] = sent(client, "/txt2img", body)["images"]
    assert "Steps: 1" in sent(client, "/png-info", {"image": DATA_URI + image})["info"]
    sent(client, "/refresh-checkpoints")
