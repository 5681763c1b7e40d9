"""The terminal's door: train an embedding, look into embedding files, convert them."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from webui.errors import AppError
from webui.models.families import describe_widths, family_of_widths
from webui.settings import Settings
from webui.training.recipe import PRESETS, preset

KINDS = {".pt": "a1111", ".bin": "diffusers", ".safetensors": "safetensors", ".png": "picture"}
"""Format that is written for each ending."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def main(arguments: list[str] | None = None) -> None:
    """Run one command; errors that a person can mend end it with a sentence and status 1."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    flags = _parser().parse_args(arguments)
    try:
        flags.run(flags)
    except AppError as error:
        raise SystemExit(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m webui", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    usual = Settings()
    train = commands.add_parser("train", help="learn an embedding from 3 to 15 pictures")
    train.set_defaults(run=_train)
    train.add_argument("--data", type=Path, required=True, help="folder of pictures")
    train.add_argument("--name", required=True, help="what will be written in prompts")
    train.add_argument("--init", required=True, help="the words that come closest")
    train.add_argument("--preset", choices=PRESETS, default="object")
    train.add_argument("--steps", type=int, help="instead of the preset's")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--overwrite", action="store_true", help="replace one of the same name")
    train.add_argument("--model", help="name below the models folder; else as the app chooses")
    train.add_argument("--models-dir", type=Path, default=usual.models_dir)
    train.add_argument("--embeddings-dir", type=Path, default=usual.embeddings_dirs[0])
    train.add_argument("--outputs-dir", type=Path, default=usual.outputs_dir)
    train.add_argument("--device", default="auto")
    train.add_argument("--precision", default="auto", choices=("auto", "fp32", "fp16", "bf16"))

    inspect = commands.add_parser("inspect", help="say what embedding files are")
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("files", type=Path, nargs="+", metavar="FILE")

    convert = commands.add_parser("convert", help="write an embedding in another format")
    convert.set_defaults(run=_convert)
    convert.add_argument("source", type=Path, metavar="IN")
    convert.add_argument("target", type=Path, metavar="OUT", help=", ".join(KINDS))
    return parser


def _train(flags: argparse.Namespace) -> None:
    from tqdm import tqdm

    from webui.studio.studio import Studio
    from webui.training.intake import TrainingRequest

    studio = Studio(
        Settings(
            models_dir=flags.models_dir.resolve(),
            embeddings_dirs=(flags.embeddings_dir.resolve(),),
            outputs_dir=flags.outputs_dir.resolve(),
            device=flags.device,
            precision=flags.precision,
        )
    )
    studio.open()
    try:
        studio.models.switch(flags.model)
        recipe = replace(preset(flags.preset, studio.models.get().family), seed=flags.seed)
        if flags.steps is not None:
            recipe = replace(recipe, steps=flags.steps)
        pictures = _pictures_in(flags.data)
        request = TrainingRequest(flags.name, pictures, flags.init, recipe, flags.overwrite)
        if problems := studio.training.check(request):
            raise AppError("\n".join(text for _, text in problems))
        for finding in studio.training.preflight(request):
            print(f"note: {finding.file or 'pictures'}: {finding.message}")
        run = studio.training.start(request)
        with tqdm(total=recipe.steps, unit="step", desc=flags.name) as bar:
            while (view := studio.training.view(run)).state not in (
                "finished",
                "failed",
                "stopped",
            ):
                bar.n = view.step
                bar.set_postfix_str(view.message, refresh=True)
                time.sleep(0.5)
            bar.n = view.step
        if view.state != "finished":
            raise AppError(view.problem or view.message)
        print(f"{view.installed}\n{view.report.verdict}: {view.report.advice}")
    except KeyboardInterrupt:
        raise SystemExit("Paused; the run can be resumed on the Train tab.") from None
    finally:
        studio.close()


def _pictures_in(folder: Path) -> tuple[Path, ...]:
    """Return the pictures of a folder by name; text files beside them are their captions."""
    if not folder.is_dir():
        raise AppError(f"There is no folder {folder}.")
    return tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES))


def _inspect(flags: argparse.Namespace) -> None:
    from webui.embeddings import formats

    refused = 0
    for path in flags.files:
        try:
            found = formats.inspect(path)
        except (AppError, OSError) as error:
            print(f"{path}: {error}")
            refused += 1
            continue
        print(f"{path}: {found.format}, {found.size_bytes} bytes, SHA-256 {found.short_hash}…")
        for embedding in found.embeddings:
            family = family_of_widths(embedding.widths)
            kind = family.label if family else "unknown family"
            print(f"  {len(embedding)} vectors, {kind} ({describe_widths(embedding.widths)} wide)")
            for label, value in (
                ("name inside", embedding.inner_name),
                ("trained on", embedding.trained_on),
                ("steps", embedding.step),
                ("vectors' hash", embedding.content_hash),
            ):
                if value is not None:
                    print(f"  {label}: {value}")
    if refused:
        raise SystemExit(1)


def _convert(flags: argparse.Namespace) -> None:
    from webui.embeddings import formats

    kind = KINDS.get(flags.target.suffix.lower())
    if kind is None:
        raise AppError(f"{flags.target.name} must end in one of: {', '.join(KINDS)}.")
    if flags.target.exists():
        raise AppError(f"{flags.target} is there already; it is not replaced.")
    found = formats.inspect(flags.source)
    embedding = replace(found.embeddings[0], name=flags.target.stem)
    formats.write(embedding, flags.target, kind, found.metadata)
    print(f"Wrote {flags.target}.")
