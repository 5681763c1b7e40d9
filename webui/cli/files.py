"""``inspect`` and ``convert``: what embedding files are, and the same vectors in other formats."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from webui.embeddings import formats
from webui.errors import AppError
from webui.models.families import describe_widths, family_of_widths
from webui.reader_process import shared_reader

KINDS: Mapping[str, formats.Kind] = {
    ".pt": "a1111",
    ".bin": "diffusers",
    ".safetensors": "safetensors",
    ".png": "picture",
}
"""Format that is written for each ending."""


def add(commands: Any) -> None:
    """Add the two commands to argparse's ``commands``."""
    inspect = commands.add_parser("inspect", help="say what embedding files are")
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("files", type=Path, nargs="+", metavar="FILE")

    convert = commands.add_parser("convert", help="write an embedding in another format")
    convert.set_defaults(run=_convert)
    convert.add_argument("source", type=Path, metavar="IN")
    convert.add_argument("target", type=Path, metavar="OUT", help=", ".join(KINDS))


def _inspect(flags: argparse.Namespace) -> None:
    refused = 0
    for path in flags.files:
        try:
            found = formats.inspect(path, reader=shared_reader())
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
                ("kind", embedding.kind or None),
                ("trained on", embedding.trained_on),
                ("steps", embedding.step),
                ("vectors' hash", embedding.content_hash),
            ):
                if value is not None:
                    print(f"  {label}: {value}")
    if refused:
        raise SystemExit(1)


def _convert(flags: argparse.Namespace) -> None:
    kind = KINDS.get(flags.target.suffix.lower())
    if kind is None:
        raise AppError(f"{flags.target.name} must end in one of: {', '.join(KINDS)}.")
    if flags.target.exists():
        raise AppError(f"{flags.target} is there already; it is not replaced.")
    found = formats.inspect(flags.source, reader=shared_reader())
    embedding = replace(found.embeddings[0], name=flags.target.stem)
    formats.write(embedding, flags.target, kind, found.metadata)
    print(f"Wrote {flags.target}.")
