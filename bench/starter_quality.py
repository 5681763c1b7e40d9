"""Measures the starter model on held-out prompts: `python bench/starter_quality.py`."""

import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from starter.card import contact_sheet, write_card  # noqa: E402
from starter.quality import HELD_OUT_SEED, measure, missed, table  # noqa: E402
from starter.reader import load_reader  # noqa: E402
from starter.shipping import load_pipeline, size_bytes  # noqa: E402


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, default=ROOT / "models" / "starter")
    add("--prompts", type=int, default=500, help="in all: 3/5 seen, 1/5 unseen, 1/5 two objects")
    add("--weight-prompts", type=int, default=60)
    add("--steps", type=int, default=20)
    add("--guidance", type=float, default=4.0)
    add("--seed", type=int, default=HELD_OUT_SEED)
    add("--threads", type=int, default=2)
    add("--sheet", type=Path, help="write a contact sheet of 64 images here")
    add("--card", action="store_true", help="write the figures into the model's card")
    return parser.parse_args()


def main() -> None:
    """Measures and prints; nothing is written unless asked for."""
    options = parse()
    torch.set_num_threads(options.threads)
    figures = measure(
        load_pipeline(options.model), load_reader(), options.prompts, options.weight_prompts,
        options.seed, options.steps, options.guidance,
    )  # fmt: skip
    print(table(figures))
    print(f"\nautoencoder {figures.psnr_db:.1f} dB, weights act {100 * figures.weights_act:.0f} %")
    print(f"pale images {100 * figures.pale:.0f} %, of prompts that name no background")
    print(f"one image {figures.picture_s:.2f} s on {options.threads} threads")
    print(f"size {size_bytes(options.model) / 1e6:.1f} MB")
    print("goals missed: " + ("; ".join(missed(figures)) or "none"))
    if options.sheet:
        contact_sheet(figures.pictures).save(options.sheet)
    if options.card:
        write_card(figures, options.model)


if __name__ == "__main__":
    main()
