"""Stage two: the tokenizer's files, and a text encoder that learns what captions say."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from starter.captions import ATTRIBUTES, Caption, caption, labels
from starter.concepts import EXCLUDED_LOOKS
from starter.optimizers import optimizers_for
from starter.stages import Budget, Stage, run_stage
from starter.world import training_scene

log = logging.getLogger(__name__)
WIDTH = 128
MAX_TOKENS = 77
_START, _END = "<|startoftext|>", "<|endoftext|>"
_VOCABULARY_SIZE = 49408
_BATCH = 64
_SHORT = 40
"""Tokens kept while learning alone: longer than any caption, so nothing is lost."""


def byte_letters() -> list[str]:
    """Return the 256 printable letters that stand for bytes, in the order of CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(hidden))]


def write_tokenizer(bpe_file: Path, folder: Path) -> None:
    """Write CLIP's tokenizer into ``folder`` from its list of merges
    (``bpe_simple_vocab_16e6``)."""
    lines = gzip.open(bpe_file, "rt", encoding="utf-8").read().split("\n")
    letters = byte_letters()
    merges = lines[1 : _VOCABULARY_SIZE - 2 * len(letters) - 2 + 1]
    words = letters + [letter + "</w>" for letter in letters]
    words += ["".join(merge.split()) for merge in merges] + [_START, _END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: index for index, word in enumerate(words)}
    text = json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _END}
    config = special | {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "do_lower_case": True,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")


def build_text_encoder() -> CLIPTextModel:
    """Return an untrained text encoder of four layers over CLIP's vocabulary."""
    config = CLIPTextConfig(
        vocab_size=_VOCABULARY_SIZE,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=_VOCABULARY_SIZE - 2,
        eos_token_id=_VOCABULARY_SIZE - 1,
        pad_token_id=_VOCABULARY_SIZE - 1,
    )
    return CLIPTextModel(config)


def token_ids(tokenizer: CLIPTokenizer, texts: list[str], length: int = MAX_TOKENS) -> Tensor:
    """Return prompts as token ids, int64 ``[n, length]``, padded with the end token."""
    batch = tokenizer(texts, padding="max_length", max_length=length, truncation=True)
    return torch.tensor(batch["input_ids"])


def random_captions(rng: np.random.Generator, count: int) -> list[Caption]:
    """Return captions of scenes that training may show."""
    return [caption(training_scene(rng, EXCLUDED_LOOKS), rng) for _ in range(count)]


def end_state(encoder: CLIPTextModel, ids: Tensor) -> Tensor:
    """Return the last layer at the first end token: ids ``[n, tokens]`` -> ``[n, width]``."""
    hidden = encoder(input_ids=ids).last_hidden_state  # [n, tokens, width]
    ends = (ids == _VOCABULARY_SIZE - 1).int().argmax(dim=1)
    return hidden[torch.arange(len(ids), device=ids.device), ends]


def train_text(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, budget: Budget, folder: Path,
    seed: int = 0, peak_lr: float = 2e-3, device: str = "cpu",
) -> float:  # fmt: skip
    """Teach ``encoder`` in place to tell all that captions say; return the share it gets right.

    The share is that of the worst attribute. Linear heads read the end token, one for each
    attribute; they are thrown away afterwards.
    """
    heads = nn.ModuleList(nn.Linear(WIDTH, len(values)) for values in ATTRIBUTES.values())
    both = nn.ModuleDict({"encoder": encoder, "heads": heads}).to(device).train()

    def read(count: int, lot: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
        said = random_captions(np.random.default_rng(lot), count)
        ids = token_ids(tokenizer, [one.text for one in said], _SHORT).to(device)
        truth = torch.tensor([labels(one.said) for one in said]).to(device)  # [n, attributes]
        state = end_state(encoder, ids)
        return [head(state) for head in heads], truth

    def loss_at(step: int) -> Tensor:
        scores, truth = read(_BATCH, (seed, 20, step))
        losses = [functional.cross_entropy(s, t) for s, t in zip(scores, truth.T, strict=True)]
        return torch.stack(losses).mean()

    run_stage(Stage("text", both, optimizers_for(both, peak_lr), budget, folder), loss_at)
    with torch.no_grad():
        scores, truth = read(512, (seed, 21))
    right = [(s.argmax(1) == t).float().mean().item() for s, t in zip(scores, truth.T, strict=True)]
    for name, share in zip(ATTRIBUTES, right, strict=True):
        log.info("text encoder tells %s: %.3f", name, share)
    return min(right)


@torch.no_grad()
def settle_unused_rows(encoder: CLIPTextModel, used: Tensor) -> None:
    """Give all token rows that no caption used one and the same vector, of a usual length.

    ``used`` is bool [vocabulary]. The table's mean norm, which learning a new word is measured
    against, is then that of words the model knows, and only such words can be near to anything.
    """
    table = encoder.get_input_embeddings().weight
    norm = table[used].norm(dim=1).mean()
    table[~used] = functional.normalize(table[~used].mean(dim=0), dim=0) * norm
