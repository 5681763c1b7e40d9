"""Configurations of Kohya's scripts and GUI: each setting taken over, or answered with why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from webui.declarations import Declaration
from webui.errors import BadField
from webui.training.dataset import find_pictures
from webui.training.jobs.job import ASKED
from webui.training.recipe import SETTINGS
from webui.training.runs import tracking

_MARKS = frozenset(
    "train_data_dir pretrained_model_name_or_path model_name_or_path token_string init_word "
    "output_name num_vectors_per_token max_train_steps train_batch_size dataset_config".split()
)
"""Keys that only these configurations have."""


def is_kohya(values: Mapping[str, Any]) -> bool:
    """Whether a configuration is written in Kohya's keys."""
    return not _MARKS.isdisjoint(values)


def translated(values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return our own keys for a configuration, and a sentence for each setting not taken over.

    The learning rate is AdamW's there, so it becomes a run of the Classic preset. Empty values are
    as good as none. Raises BadField with the key whose value cannot be read.
    """
    ours: dict[str, Any] = {"preset": "classic", "stop_early": False}
    notes: list[str] = []
    for key, value in values.items():
        if value is None or value == "":
            continue
        if key in _TAKEN:
            name, setting = _TAKEN[key]
            if not (str(value) == "0" and (setting.low or 0) > 0):  # which says: as usual
                ours[name] = _read(setting, key, value)
        elif key in _WEIGHED:
            said = _WEIGHED[key](value, values, ours)
            notes += [f"{key}: {said}"] if said else []
        elif key not in _ANSWERS:
            notes.append(f"{key}: this setting is not known here; it is left out.")
        elif value not in (False, 0, "0", "no", "none", "None", "false", "False", [], {}):
            notes.append(f"{key}: {_ANSWERS[key]}")
    if "name" not in ours and isinstance(values.get("token_string"), str):
        ours["name"] = values["token_string"].strip()
    return ours, tuple(notes)


def with_dataset(values: Mapping[str, Any], dataset: Any, folder: Path) -> dict[str, Any]:
    """Return a configuration with what its ``dataset_config`` says in the place of that.

    ``dataset`` is that file's content, and relative paths in it start at its ``folder``. There the
    subsets are folders of images of the one token; here they must be all folders of one, or one.
    Raises BadField for what cannot be one run.
    """
    subsets = list(_subsets(dataset))
    folders = {(folder / Path(str(each["image_dir"])).expanduser()).resolve() for each in subsets}
    place = folders.pop() if len(folders) == 1 else _around(folders)
    shared: dict[str, Any] = {}
    for key in dict.fromkeys(key for each in subsets for key in each):
        found = [each.get(key) for each in subsets]
        if key not in _OF_A_SUBSET and found.count(found[0]) < len(found):
            raise BadField("dataset_config", f"The subsets differ in “{key}”; a run has one.")
        shared[key] = found[0]
    if "batch_size" in shared:
        shared["train_batch_size"] = shared.pop("batch_size")
    shared["train_data_dir"] = str(place)
    del shared["image_dir"]
    return {key: value for key, value in values.items() if key != "dataset_config"} | shared


_OF_A_SUBSET = frozenset({"image_dir", "class_tokens", "num_repeats"})


def _subsets(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the subsets that are learned, each with what is said of all and of its dataset."""

    def table(value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise BadField("dataset_config", "It holds no [[datasets]] with [[datasets.subsets]].")
        return value

    content, count = table(dataset), 0
    datasets = content.get("datasets")
    for each in datasets if isinstance(datasets, list) else [None]:
        own = dict(table(each))
        subsets = own.pop("subsets", None)
        for subset in subsets if isinstance(subsets, list) else [None]:
            found = {**table(content.get("general", {})), **own, **table(subset)}
            if "image_dir" not in found:
                raise BadField("dataset_config", "A subset has no “image_dir”, a folder of images.")
            if not found.pop("is_reg", False):  # the model is not changed, so it forgets nothing
                count += 1
                yield found
    if not count:
        raise BadField("dataset_config", "There is no subset to be learned.")


def _around(folders: Collection[Path]) -> Path:
    """Return the folder around others; BadField if it holds more images than theirs, or there is
    none."""
    (parent, *others) = {folder.parent for folder in folders}
    if not others and {path.parent for path in find_pictures(parent)[0]} == set(folders):
        return parent
    raise BadField(
        "dataset_config",
        "A run learns from one folder. Put the folders of the subsets side by side into one, with "
        "no other images in it.",
    )


_WHOLE = Declaration(label="It", type=int)
_SWITCH = Declaration(label="It", type=bool)
_PER_CENT = Declaration(label="It", type=float, low=0, high=100)
_TAKEN: Mapping[str, tuple[str, Declaration]] = {
    **{item.kohya: (name, replace(item, type=str)) for name, item in ASKED.items() if item.kohya},
    **{item.kohya: (name, item) for name, item in SETTINGS.items() if item.kohya},
}
"""Settings that mean the same here; those of a job are texts."""


def _read(declaration: Declaration, key: str, value: Any) -> Any:
    """Return what a value means; BadField with its key if it is none."""
    try:
        return declaration.check(value.strip() if isinstance(value, str) else value)
    except BadField as problem:
        raise BadField(key, f"“{key}” is {value!r}. {problem}") from None


def _model(value: Any, _: Mapping[str, Any], ours: dict[str, Any]) -> str | None:
    path = Path(str(value).strip()).expanduser()
    ours["model"] = path.stem if path.suffix in (".safetensors", ".ckpt") else path.name
    if path.is_absolute():
        ours["models_dir"] = str(path.parent)
        return None
    return f"nothing is downloaded; “{ours['model']}” is looked for in the models folder."


def _token(value: Any, values: Mapping[str, Any], _: dict[str, Any]) -> str | None:
    name = values.get("output_name") or value
    if name == value:
        return None
    return f"prompts call an embedding by its file's name, so write “{name}”, not “{value}”."


def _precision(value: Any, _: Mapping[str, Any], ours: dict[str, Any]) -> str | None:
    if value not in ("no", "bf16", "fp16"):
        raise BadField("mixed_precision", f"“mixed_precision” is {value!r}; no, fp16 or bf16.")
    ours["mixed_precision"] = "fp32" if value == "no" else value
    return None


def _size(value: Any, _: Mapping[str, Any], ours: dict[str, Any]) -> str | None:
    sides = value if isinstance(value, list) else re.split(r"[,x]", str(value))
    sides = [_read(_WHOLE, "resolution", side) for side in sides]
    ours["resolution"] = min(sides)
    return None if len(set(sides)) == 1 else f"squares of {min(sides)} pixels are trained on."


def _schedule(value: Any, _: Mapping[str, Any], ours: dict[str, Any]) -> str | None:
    falls = str(value).startswith("cosine")
    ours["lr_scheduler"] = "cosine" if falls else "constant"
    if value in ("constant", "constant_with_warmup", "cosine"):
        return None
    return f"there is no “{value}”; the rate {'falls once' if falls else 'is constant'}."


def _warmup(value: Any, values: Mapping[str, Any], ours: dict[str, Any]) -> str | None:
    steps = _read(_WHOLE, "max_train_steps", values.get("max_train_steps") or 0)
    ours["warmup_steps"] = round(_read(_PER_CENT, "lr_warmup", value) / 100 * steps)
    return None


def _optimizer(value: Any, *_: Any) -> str | None:
    if str(value).lower() == "adamw":
        return None
    if "8bit" in str(value).lower():
        return f"AdamW is used. {_EIGHT_BIT}"
    return f"AdamW is used; there is no {value} here. The other presets learn without it."


def _template(value: Any, values: Mapping[str, Any], ours: dict[str, Any]) -> str | None:
    if str(value).startswith("style"):
        ours["kind"] = "style"
    elif value == "caption":
        if values.get("token_string") != values.get("output_name", values.get("token_string")):
            return "the captions hold the token string, not the name; sentences are used instead."
        ours["caption_mode"] = "files"
    return None


def _style(value: Any, _: Mapping[str, Any], ours: dict[str, Any]) -> None:
    if _read(_SWITCH, "use_style_template", value):
        ours["kind"] = "style"


def _dropout(value: Any, _: Mapping[str, Any], ours: dict[str, Any]) -> str | None:
    ours["caption_dropout"] = _read(SETTINGS["caption_dropout"], "caption_dropout_rate", value)
    if not ours["caption_dropout"]:
        return None
    return (
        "an empty caption would teach the vectors nothing; this share of the samples has the name "
        "alone."
    )


def _trackers(value: Any, _: Mapping[str, Any], ours: dict[str, Any]) -> str | None:
    if value not in ("tensorboard", "all") or not tracking.available():
        return "all steps are in events.jsonl of the run's folder; --tensorboard writes them too."
    ours["tensorboard"] = True
    return None


def _object(value: Any, *_: Any) -> None:
    _read(_SWITCH, "use_object_template", value)


_EIGHT_BIT = (
    "All that is learned is a few vectors, whose optimizer takes some 48 KiB; in 8 bits it would "
    "save 36 KiB of them, and bitsandbytes leaves tensors that small in 32 bits anyway."
)
_WEIGHED: Mapping[str, Callable[[Any, Mapping[str, Any], dict[str, Any]], str | None]] = {
    "pretrained_model_name_or_path": _model,
    "model_name_or_path": _model,
    "token_string": _token,
    "mixed_precision": _precision,
    "resolution": _size,
    "max_resolution": _size,
    "lr_scheduler": _schedule,
    "lr_warmup": _warmup,
    "optimizer": _optimizer,
    "optimizer_type": _optimizer,
    "template": _template,
    "use_style_template": _style,
    "use_object_template": _object,
    "log_with": _trackers,
    "caption_dropout_rate": _dropout,
}
"""Settings that need a look at their value; each returns what there is to say, if anything."""

_GROUPS: tuple[tuple[str, str], ...] = (
    ("use_8bit_adam", _EIGHT_BIT),
    (
        "cache_latents cache_latents_to_disk vae_batch_size",
        "images always go through the VAE once, and mean and spread of their latents are kept.",
    ),
    ("xformers sdpa mem_eff_attn", "torch's own fused attention is always used."),
    ("lowram highvram", "the model is loaded to the device once; see the Low VRAM preset."),
    (
        "v2 v_parameterization v_pred sdxl",
        "what the model is, and what it predicts, is read from the checkpoint itself.",
    ),
    (
        "clip_skip max_token_length no_token_padding",
        "captions are encoded as prompts are: 75 tokens, by the layer that the model was made for.",
    ),
    (
        "max_train_epochs epoch save_every_n_epochs sample_every_n_epochs "
        "stop_text_encoder_training",
        "a run is counted in steps; see max_train_steps and save_every_n_steps.",
    ),
    (
        "save_precision save_model_as full_fp16 full_bf16 fp8_base",
        "vectors are learned and written in float32, as safetensors; convert writes other formats.",
    ),
    (
        "min_bucket_reso max_bucket_reso bucket_reso_steps bucket_no_upscale",
        "buckets have at most the area of the resolution's square, and sides in steps of 64 "
        "pixels, from half to twice the square's.",
    ),
    (
        "random_crop",
        "images are cut where they have most detail, or where “crop_positions” says.",
    ),
    ("color_aug face_crop_aug_range", "images are used in the colours that they have."),
    (
        "keep_tokens caption_dropout_every_n_epochs weighted_captions caption_extension "
        "caption_extention",
        "captions are sentences around the name, or .txt files; of their tags only the one that "
        "holds the name is never dropped.",
    ),
    (
        "reg_data_dir prior_loss_weight",
        "the model is not changed, so there is nothing it could forget.",
    ),
    (
        "noise_offset_type multires_noise_iterations multires_noise_discount "
        "adaptive_noise_scale ip_noise_gamma min_timestep max_timestep loss_type huber_c "
        "huber_schedule zero_terminal_snr scale_v_pred_loss_like_noise_pred "
        "debiased_estimation_loss",
        "the loss is the plain error of the noise, over the model's own schedule.",
    ),
    ("vae", "a separate VAE lies beside the checkpoint or in models/vae/."),
    (
        "network_module network_args network_alpha network_weights network_dropout "
        "network_train_unet_only network_train_text_encoder_only text_encoder_lr conv_dim "
        "conv_alpha dim_from_weights scale_weight_norms",
        "a LoRA beside the embedding changes the UNet's attention; its alpha is its rank, and of "
        "the text encoder only the embedding is learned.",
    ),
    ("resume", "a run that was cut short is resumed by itself."),
    (
        "save_state save_last_n_steps save_last_n_steps_state save_last_n_epochs "
        "save_last_n_epochs_state",
        "every run can be resumed, and every evaluation is kept.",
    ),
    (
        "sample_prompts sample_sampler",
        "previews show “preview_prompts”, drawn as the model is drawn with.",
    ),
    (
        "logging_dir log_tracker_name log_prefix wandb_api_key wandb_run_name",
        "all steps are in events.jsonl of the run's folder, a line of JSON each.",
    ),
    (
        "max_data_loader_n_workers persistent_data_loader_workers num_cpu_threads_per_process "
        "num_processes num_machines multi_gpu gpu_ids main_process_port dynamo_backend "
        "dynamo_mode dynamo_use_fullgraph dynamo_use_dynamic extra_accelerate_launch_args "
        "torch_compile ddp_timeout",
        "there is nothing to load while training; many concepts share several devices by --jobs.",
    ),
    ("in_json", "a folder is read; name it in train_data_dir."),
    ("class_tokens", "what captions are made of is the same for all images; see the template."),
    ("num_repeats", "each image is seen equally often, however many there are."),
    (
        "lr_scheduler_num_cycles lr_scheduler_power lr_scheduler_args lr_scheduler_type "
        "optimizer_args additional_parameters",
        "the rate is constant or falls along one cosine, and AdamW has no further settings.",
    ),
    (
        "metadata_title metadata_author metadata_description metadata_license metadata_tags "
        "training_comment no_metadata huggingface_repo_id",
        "notes are written on the Embeddings tab, and nothing is uploaded.",
    ),
)
_ANSWERS = {key: answer for keys, answer in _GROUPS for key in keys.split()}
"""Settings that do nothing here, and why."""
