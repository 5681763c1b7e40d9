"""How long a prompt takes from text to chunks, with few and with many embeddings installed.

Run ``python bench/prompting.py``. The prompt has 300 tokens and calls five embeddings. "warm" is
the usual case: its words were seen before. "cold" has a new prompt each time. Beside it stands
what diffusers does: its pipelines add every embedding's name to the tokenizer.
"""

from __future__ import annotations

import copy
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from transformers import CLIPTokenizer

from webui.embeddings.cards import Card
from webui.prompting import xray
from webui.prompting.lookup import Lookup
from webui.prompting.reader import Reader
from webui.prompting.source import PromptSettings
from webui.prompting.tokens import Tokens
from webui.settings import ROOT

WIDTHS = {"clip_l": 768}
WORDS = (
    "a detailed oil painting of an old lighthouse on a cliff at dusk with warm light in the "
    "windows and gulls above the sea soft clouds rim light muted colours film grain"
).split()
STEMS = "bad easy negative style hands portrait marc anime retro neon ink cat paper".split()


class ManyNames:
    """A collection of embeddings that has names only."""

    version = 1

    def __init__(self, count: int) -> None:
        chance = random.Random(1)
        joints = ("-", "_", " ", "")
        self._names = [
            f"{chance.choice(STEMS)}{chance.choice(joints)}{chance.choice(STEMS)}-{number}"
            for number in range(count)
        ]
        self._keys = {name.casefold() for name in self._names}
        self._card = Card("any", Path("any.pt"), Path(), "", WIDTHS, 4)

    def names(self) -> list[str]:
        return self._names

    def card(self, name: str) -> Card | None:
        return self._card if name.casefold() in self._keys else None

    def get(self, name: str) -> None:
        return None


def prompt_of_300_tokens(names: list[str], seed: int) -> str:
    """Return words, commas, weights and five calls, in another order for each seed."""
    chance = random.Random(seed)
    words = [*(chance.choice(WORDS) for _ in range(234)), "(soft light:1.2)", "[blurry]"]
    for name in names[:5]:
        words.insert(chance.randrange(len(words)), f"({name}:1.1)")
    for position in range(20, len(words), 5):
        words[position] += ","
    return " ".join(words)


def milliseconds(work: Callable[[int], object], repeats: int = 200) -> float:
    """Return the median time of ``work(number)`` over some repeats."""
    times = []
    for number in range(repeats):
        start = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2] * 1000


def lay_out(tokens: Tokens, source: ManyNames, prompt: str) -> int:
    """Take a prompt from text to chunks; return the positions used."""
    reader = Reader(tokens, Lookup(source, WIDTHS, "bench", load=False), PromptSettings())
    text = reader.script(prompt, 20).parts[0].stages[0].text
    return reader.read(text).layout.used


def forgetful(tokens: Tokens) -> Tokens:
    """Return a copy that has seen no word yet."""
    fresh = copy.copy(tokens)
    fresh._ids = {}
    return fresh


def with_diffusers(tokenizer: CLIPTokenizer, names: list[str], prompt: str) -> tuple[float, float]:
    """Return seconds to install names of four vectors, and milliseconds to tokenize a prompt."""
    grown = copy.deepcopy(tokenizer)
    start = time.perf_counter()
    grown.add_tokens([name + end for name in names for end in ("", "_1", "_2", "_3")])
    installed_s = time.perf_counter() - start
    return installed_s, milliseconds(lambda _: grown(prompt, verbose=False), 20)


def remembered_us(tokenizer: CLIPTokenizer) -> float:
    """Return microseconds for conditioning that was made before, with a tiny text encoder."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    from webui.models.model import Model, TextEncoder
    from webui.prompting.conditioning import Conditioner

    config = CLIPTextConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    cpu = torch.device("cpu")
    encoder = TextEncoder("clip_l", CLIPTextModel(config))
    parts: dict[str, Any] = {"unet": None, "vae": None, "scheduler_config": {}}
    model = Model(
        "tiny", Path("tiny"), "0", "sd1", tokenizer, (encoder,),
        device=cpu, dtype=torch.float32, **parts,
    )  # fmt: skip
    source, conditioner = ManyNames(0), Conditioner()
    prompt = prompt_of_300_tokens([], 0)
    return 1000 * milliseconds(lambda _: conditioner.prepare(model, prompt, "ugly", 20, source))


def main() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "models" / "starter" / "tokenizer")
    print(f"conditioning made before: {remembered_us(tokenizer):.0f} µs")
    print(
        "installed  used  warm ms  cold ms  x-ray ms  index ms | diffusers: install s  tokenize ms"
    )
    for count in (10, 1_000, 10_000):
        source = ManyNames(count)
        prompts = [prompt_of_300_tokens(source.names(), seed) for seed in range(200)]
        tokens = Tokens(tokenizer)
        start = time.perf_counter()
        used = lay_out(tokens, source, prompts[0])
        index_ms = (time.perf_counter() - start) * 1000
        warm = milliseconds(lambda n: lay_out(tokens, source, prompts[n]))  # noqa: B023
        cold = milliseconds(lambda n: lay_out(forgetful(tokens), source, prompts[n]))  # noqa: B023
        shown = milliseconds(
            lambda n: xray.read(prompts[n], tokenizer, source, WIDTHS, "bench")  # noqa: B023
        )
        installed_s, tokenize_ms = with_diffusers(tokenizer, source.names(), prompts[0])
        print(
            f"{count:9,}  {used:4}  {warm:7.2f}  {cold:7.2f}  {shown:8.2f}  {index_ms:8.1f} | "
            f"{installed_s:20.2f}  {tokenize_ms:11.2f}"
        )


if __name__ == "__main__":
    main()
