"""Make the starter model: ``python -m starter``; it can be stopped at any time and run again."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Set
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from starter.captions import caption
from starter.card import write_card
from starter.critic import (
    Critic,
    faults_told,
    guess,
    poor_ways_told,
    save_critic,
    train_critic,
)
from starter.emphasis import weight_lessons
from starter.faults import LEARNED
from starter.growing import take_inner_levels
from starter.pictures import open_pictures, scene_at
from starter.quality import HELD_OUT_SEED, measure, table
from starter.reader import Reader, load_reader, save_reader, train_reader
from starter.shipping import Parts, load_parts, load_pipeline, ship, size_bytes
from starter.stages import Budget, taken
from starter.text import (
    build_text_encoder,
    settle_unused_rows,
    token_ids,
    train_text,
    write_tokenizer,
)
from starter.unet import BATCH_SIZE, CAPTIONS_EACH, Lessons, build_unet, train_unet
from starter.vae import (
    build_vae,
    encode_all,
    polish_decoder,
    psnr_db,
    rebuild,
    train_vae,
)
from starter.world import SIDE
from webui.files import replacing, write_whole

log = logging.getLogger("starter")
_STEPS = {"vae": 6000, "text": 500, "decoder": 2000, "outer": 100, "unet": 12000}
_PEAKS = {"vae": 2e-3, "text": 2e-3, "decoder": 1e-3, "outer": 1.5e-3, "unet": 1.5e-3}
"""Learning rates."""
_READER_PICTURES, _READER_REBUILT, _READER_STEPS = 56000, 6000, 6000
_CRITIC_PICTURES, _CRITIC_GUESSES, _CRITIC_STEPS = 2400, 320, 1800
_EXAM_PICTURES, _EXAM_STRENGTH = 120, 0.15
_WEIGHT_LESSONS = 1500
_MINUTES = (28.0, 4.0, 10.0, 0.0, 110.0)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser("python -m starter", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=Path("models/starter"), help="where the model is written")
    add("--work", type=Path, default=Path("outputs/starter"), help="checkpoints and caches")
    add("--minutes", type=float, nargs=5, default=_MINUTES, metavar=tuple(_STEPS),
        help="the longest that each stage may take; 0 leaves it out")  # fmt: skip
    add("--length", type=float, default=1.0, help="factor on the steps of every stage")
    add("--pictures", type=int, default=12000, help="how many pictures to draw and learn from")
    add("--batch-size", type=int, default=BATCH_SIZE, help="of the denoiser's steps")
    add("--seed", type=int, default=0)
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--reader", action="store_true", help="make the reader instead, which measures the model")
    add("--critic", action="store_true", help="make the critic instead, which judges pictures")
    add("--go-on", action="store_true", help="start from the weights in --out")
    add("--grow-from", type=Path, metavar="FOLDER",
        help="start from a model for pictures half as wide: its denoiser becomes the inner levels, "
        "and the new level is trained alone first")  # fmt: skip
    add("--rate", type=float, default=1.0, help="factor on every stage's peak learning rate")
    add("--prompts", type=int, default=500, help="how many to measure the model on, or 0")
    add("--vocabulary", type=Path, help="bpe_simple_vocab_16e6.txt.gz, if --out has no tokenizer")
    return parser.parse_args(arguments)


def _lessons(
    parts: Parts, tokenizer: CLIPTokenizer, pictures: np.ndarray, options: argparse.Namespace
) -> Lessons:
    cache = options.work / "latents.pt"
    if not cache.exists():
        with replacing(cache) as file:
            torch.save(encode_all(parts.vae, pictures, options.device), file)
    moments = torch.load(cache, weights_only=True)
    texts = []
    for index in range(len(moments)):
        scene = scene_at(options.seed, index)
        rng = np.random.default_rng((options.seed, index, 2))
        texts += [caption(scene, rng).text for _ in range(CAPTIONS_EACH)]
    ids = token_ids(tokenizer, texts).int().view(len(moments), CAPTIONS_EACH, -1)
    mean, std = moments[:2000].float().chunk(2, dim=1)
    scale = 1 / (mean.var() + std.square().mean()).sqrt().item()
    weights = weight_lessons(
        parts.vae, tokenizer, options.seed, len(moments), _WEIGHT_LESSONS, options.device
    )
    return Lessons(moments, ids, token_ids(tokenizer, [""])[0].int(), scale, weights)


def _first_parts(options: argparse.Namespace) -> tuple[Parts, set[str]]:
    """Return the networks to start from, and the names of layers from a smaller denoiser."""
    if options.grow_from:
        smaller, unet = load_parts(options.grow_from), build_unet()
        smaller.vae.register_to_config(sample_size=SIDE)
        return replace(smaller, unet=unet), take_inner_levels(unet, smaller.unet)
    if options.go_on:
        return load_parts(options.out), set()
    return Parts(build_vae(), build_text_encoder(), build_unet()), set()


def _used_rows(ids: Tensor, rows: int) -> Tensor:
    used = torch.zeros(rows, dtype=torch.bool)
    used[ids.flatten().long()] = True
    return used


def _write_effort(options: argparse.Namespace) -> None:
    """Return steps and minutes of each stage, with those of the weights that were gone on from."""
    told, file = taken(options.work, _STEPS), options.out / "training.json"
    before = json.loads(file.read_text()) if options.go_on and file.exists() else {}
    effort = {
        name: {
            unit: before.get(name, {}).get(unit, 0) + told.get(name, {}).get(unit, 0)
            for unit in ("steps", "minutes")
        }
        for name in _STEPS
        if name in before or name in told
    }
    write_whole(file, json.dumps(effort, indent=2) + "\n")


def make_reader(options: argparse.Namespace) -> None:
    """Train the reader on pictures of the whole world and ship it with the code."""
    pictures = open_pictures(
        options.work / "reader.npy", options.seed + 1, _READER_PICTURES, everything=True
    )
    scenes = [scene_at(options.seed + 1, index, True) for index in range(_READER_PICTURES)]
    vae = load_parts(options.out).vae
    rebuilt = rebuild(vae, pictures[:_READER_REBUILT], options.device)
    reader = Reader()
    budget = Budget(max(1, round(_READER_STEPS * options.length)))
    train_reader(
        reader, pictures, rebuilt, scenes, budget, options.work,
        seed=options.seed, device=options.device,
    )  # fmt: skip
    save_reader(reader)


def make_critic(options: argparse.Namespace) -> None:
    """Train the critic on pictures, drawn, spoilt and guessed by the model; ship it."""
    pipeline, critic = load_pipeline(options.out), Critic()
    drawn, guessed = (
        max(4, round(count * options.length)) for count in (_CRITIC_PICTURES, _CRITIC_GUESSES)
    )
    guesses = guess(pipeline, options.seed + 2, drawn, guessed)
    budget = Budget(max(1, round(_CRITIC_STEPS * options.length)))
    train_critic(critic, guesses, budget, options.work, seed=options.seed, device=options.device)
    save_critic(critic.cpu())
    count = max(4, round(_EXAM_PICTURES * options.length))
    told = faults_told(critic, HELD_OUT_SEED, count, _EXAM_STRENGTH)
    told |= poor_ways_told(critic, pipeline, HELD_OUT_SEED, max(4, count // 4))
    for name, share in told.items():
        held_back = "" if name in LEARNED else ", never seen in training"
        log.info("%s%s: the better picture in %.0f %%", name, held_back, 100 * share)


def main(arguments: list[str] | None = None) -> None:
    """Draw pictures, train the three stages in turn and write the model."""
    options = parse(arguments)
    torch.manual_seed(options.seed)
    if options.reader:
        return make_reader(options)
    if options.critic:
        return make_critic(options)
    if not (options.out / "tokenizer" / "vocab.json").exists():
        if options.vocabulary is None:
            raise SystemExit(f"{options.out} has no tokenizer: name its merges with --vocabulary.")
        write_tokenizer(options.vocabulary, options.out / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(options.out / "tokenizer")
    pictures = open_pictures(options.work / "pictures.npy", options.seed, options.pictures)
    budgets = {
        name: Budget(max(1, round(steps * options.length)), minutes)
        for (name, steps), minutes in zip(_STEPS.items(), options.minutes, strict=True)
    }
    parts, inner = _first_parts(options)

    def shared(stage: str) -> dict:
        return {
            "budget": budgets[stage],
            "folder": options.work,
            "seed": options.seed,
            "device": options.device,
            "peak_lr": options.rate * _PEAKS[stage],
        }

    def learn_to_denoise(stage: str, frozen: Set[str] = frozenset()) -> None:
        train_unet(
            parts.unet, parts.text_encoder, lessons, **shared(stage),
            name=stage, frozen=frozen, batch_size=options.batch_size,
        )  # fmt: skip

    if budgets["vae"].minutes:
        train_vae(parts.vae, pictures, **shared("vae"))
    if budgets["text"].minutes:
        train_text(parts.text_encoder, tokenizer, **shared("text"))
    lessons = _lessons(parts, tokenizer, pictures, options)
    parts.vae.register_to_config(scaling_factor=round(lessons.scale, 6))
    if budgets["decoder"].minutes:
        polish_decoder(parts.vae, pictures, lessons.moments, **shared("decoder"))
    vae = parts.vae.to(options.device)
    log.info("autoencoder: %.1f dB", psnr_db(vae, pictures[:200], options.device))
    if budgets["outer"].minutes:
        learn_to_denoise("outer", frozen=inner)
    if budgets["unet"].minutes:
        learn_to_denoise("unet")
    words = len(parts.text_encoder.get_input_embeddings().weight)
    settle_unused_rows(parts.text_encoder, _used_rows(lessons.ids, words))
    ship(parts, options.out)
    _write_effort(options)
    log.info("wrote %s, %.1f MB", options.out, size_bytes(options.out) / 1e6)
    if not options.prompts:
        return
    figures = measure(
        load_pipeline(options.out), load_reader(), options.prompts, -(-options.prompts // 8)
    )
    write_card(figures, options.out)
    log.info("%s", table(figures))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
