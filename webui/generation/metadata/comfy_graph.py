"""ComfyUI's graph of nodes, as it lies in its pictures, read as far as a request goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from webui.generation.metadata.infotext import compose
from webui.plain_json import bounded_json

SAMPLERS: Mapping[str, str] = {
    "ddim": "DDIM",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "dpm_adaptive": "DPM adaptive",
    "dpm_fast": "DPM fast",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "lcm": "LCM",
    "lms": "LMS",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
}
"""ComfyUI's names of samplers, and AUTOMATIC1111's."""
SCHEDULES: Mapping[str, str] = {
    "beta": "Beta",
    "ddim_uniform": "DDIM",
    "exponential": "Exponential",
    "karras": "Karras",
    "kl_optimal": "KL Optimal",
    "normal": "Normal",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
}
"""ComfyUI's names of schedulers, and AUTOMATIC1111's."""
_FARTHEST, _WIDEST = 30, 200
_MOST_VALUES = 200_000
"""Nodes that are followed from a sampler to the one that is looked for."""
_TEXTS = ("text", "text_g", "text_l", "string", "value")
_SEEDS = ("seed", "noise_seed")

Node = Mapping[str, Any]


def read_graph(text: str) -> str | None:
    """Return a graph's request as a parameters text, or None where no sampler is found in it.

    Nodes of extensions are looked through as far as their inputs have the usual names; what is
    not found is left out.
    """
    try:
        graph = bounded_json(text.encode(errors="replace"), _MOST_VALUES)
    except ValueError:
        return None
    nodes = {str(key): node for key, node in graph.items()} if isinstance(graph, dict) else {}
    sampler = _sampler(nodes)
    if sampler is None:
        return None
    inputs = sampler["inputs"]
    pairs: dict[str, object] = {}
    for key, value in (
        ("Steps", _plain(nodes, inputs, ("steps",))),
        ("Sampler", _named(SAMPLERS, _plain(nodes, inputs, ("sampler_name",)))),
        ("Schedule type", _named(SCHEDULES, _plain(nodes, inputs, ("scheduler",)))),
        ("CFG scale", _plain(nodes, inputs, ("cfg",))),
        ("Seed", _plain(nodes, inputs, _SEEDS)),
        ("Size", _size(nodes, inputs)),
        ("Model", _model(nodes, inputs)),
    ):
        if value is not None:
            pairs[key] = value
    pairs |= {"Emphasis": "ComfyUI", "RNG": "CPU", "SGM noise multiplier": "True"}
    pairs |= {"Prompt schedules": "early", "Version": "ComfyUI"}
    prompts = [_prompt(nodes, inputs.get(side)) for side in ("positive", "negative")]
    return compose(prompts[0], prompts[1], pairs)


def _sampler(nodes: Mapping[str, Any]) -> Node | None:
    """Return the sampler that draws from nothing, or any."""
    found = [node for node in nodes.values() if _is_node(node) and "positive" in node["inputs"]]
    found = [node for node in found if "Sampler" in str(node.get("class_type"))]
    found.sort(key=lambda node: node["inputs"].get("denoise", 1) not in (1, 1.0))
    return found[0] if found else None


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("inputs"), dict)


def _upstream(nodes: Mapping[str, Any], link: Any) -> Iterator[Node]:
    """Yield the node that a link ``[id, output]`` comes from, and those before it, nearest first.

    Each node is visited once, so that circles end.
    """
    seen: set[str] = set()
    waiting = deque([link])
    while waiting and len(seen) < _FARTHEST:
        link = waiting.popleft()
        if not isinstance(link, list) or not link or not isinstance(link[0], (str, int)):
            continue
        if str(link[0]) in seen:
            continue
        seen.add(str(link[0]))
        node = nodes.get(str(link[0]))
        if node is not None and _is_node(node):
            yield node
            waiting.extend(islice(node["inputs"].values(), _WIDEST))


def _plain(nodes: Mapping[str, Any], inputs: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """Return the first of some inputs that is a number or text, also through one link."""
    for key in keys:
        value = inputs.get(key)
        if isinstance(value, list):
            before = next(_upstream(nodes, value), None)
            value = (
                _plain(nodes, before["inputs"], (key, "value", "int", "float"))
                if (before is not None and not _links(before["inputs"]))
                else None
            )
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return value
    return None


def _links(inputs: Mapping[str, Any]) -> bool:
    return any(isinstance(value, list) for value in inputs.values())


def _named(names: Mapping[str, str], value: Any) -> Any:
    return names.get(value, value) if isinstance(value, str) else None


def _prompt(nodes: Mapping[str, Any], link: Any) -> str:
    """Return the text of the nearest node before a link that has one."""
    for node in _upstream(nodes, link):
        for key in _TEXTS:
            if isinstance(text := node["inputs"].get(key), str) and text.strip():
                return text
    return ""


def _size(nodes: Mapping[str, Any], inputs: Mapping[str, Any]) -> str | None:
    for node in _upstream(nodes, inputs.get("latent_image")):
        sides = [node["inputs"].get(key) for key in ("width", "height")]
        if all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            return f"{sides[0]}x{sides[1]}"
    return None


def _model(nodes: Mapping[str, Any], inputs: Mapping[str, Any]) -> str | None:
    for node in _upstream(nodes, inputs.get("model")):
        if isinstance(name := node["inputs"].get("ckpt_name"), str):
            file = name.replace("\\", "/").rsplit("/", 1)[-1]
            return file.rsplit(".", 1)[0] or None
    return None
