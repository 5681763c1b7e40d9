"""The terminal's door: train, list runs, score, inspect and convert embeddings; download models."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from webui.cli import downloading, files, runs, scoring, training
from webui.errors import AppError
from webui.plain_text import PlainFormatter


def main(arguments: list[str] | None = None) -> None:
    """Run one command; errors that a person can mend end it with a sentence and status 1."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[terminal])
    parser = argparse.ArgumentParser(prog="python -m webui", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for part in (training, runs, scoring, files, downloading):
        part.add(commands)
    flags = parser.parse_args(arguments)
    try:
        flags.run(flags)
    except AppError as error:
        raise SystemExit(str(error)) from error
