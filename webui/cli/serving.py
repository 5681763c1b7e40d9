"""The flags and the start: ``python app.py``, or ``embeddings-webui`` where it is installed."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from webui.bootstrap import serve
from webui.plain_text import PlainFormatter
from webui.settings import LOCAL_HOSTS, Settings


def space_flags(environment: Mapping[str, str]) -> list[str]:
    """Return the flags that a Space of Hugging Face needs: its proxy, and the frame it is shown in.

    Who may open it is decided there. Nothing where the app does not run in a Space.
    """
    if not environment.get("SPACE_HOST"):
        return []
    return [
        "--host", "0.0.0.0", "--no-auth", "--behind-proxy", "--no-civitai",
        "--allowed-host", environment["SPACE_HOST"],
        "--frame-ancestor", "https://huggingface.co",
    ]  # fmt: skip


def parse_flags(arguments: list[str] | None = None) -> Settings:
    """Return the settings that the command line asks for."""
    usual = Settings()
    parser = argparse.ArgumentParser(description="Use, browse and train embeddings.")
    parser.add_argument("--listen", action="store_true", help="serve the whole network (0.0.0.0)")
    parser.add_argument("--host", default=None, help=f"address to serve (default {usual.host})")
    parser.add_argument("--port", type=int, default=usual.port, help="default %(default)s")
    parser.add_argument(
        "--models-dir", type=Path, action="append", help="may be given several times"
    )
    parser.add_argument(
        "--embeddings-dir", type=Path, action="append", help="may be given several times"
    )
    parser.add_argument("--outputs-dir", type=Path, default=usual.outputs_dir)
    parser.add_argument(
        "--styles-file", type=Path, default=usual.styles_file, help="default styles.csv here"
    )
    parser.add_argument(
        "--filename-pattern", default=usual.filename_pattern, metavar="PATTERN",
        help="names of images behind their numbers, such as [seed]-[prompt_spaces]",
    )  # fmt: skip
    parser.add_argument(
        "--folder-pattern", default=usual.folder_pattern, metavar="PATTERN",
        help='sub-folders of images, such as [model_name]/[date]; "" for none',
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "fp16", "bf16"))
    parser.add_argument(
        "--offload",
        default="none",
        choices=("none", "model", "sequential"),
        help="for small CUDA GPUs",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the model in the background, then draw and train so",
    )
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for this login")
    parser.add_argument(
        "--no-auth", action="store_true", help="serve the network to everyone without a login"
    )
    parser.add_argument(
        "--mcp", action="store_true", help="let language models draw and train (gradio[mcp])"
    )
    parser.add_argument(
        "--allowed-host", action="append", default=[], help="another name of this machine"
    )
    parser.add_argument(
        "--behind-proxy", action="store_true", help="believe X-Forwarded-… of a proxy before it"
    )
    parser.add_argument(
        "--frame-ancestor", action="append", default=[], metavar="ORIGIN",
        help="a site, https://my.example, that may show the page in a frame",
    )  # fmt: skip
    parser.add_argument(
        "--no-civitai", action="store_true", help="leave out the button that asks CivitAI"
    )
    parser.add_argument(
        "--cors-allow-origins", default="", metavar="ORIGIN,ORIGIN",
        help="sites whose pages may call the API, * for all",
    )  # fmt: skip
    parser.add_argument(
        "--cors-allow-origins-regex", default="", metavar="REGEX", help="the same as a pattern"
    )
    flags = parser.parse_args(arguments)
    user, _, password = (flags.auth or "").partition(":")
    if flags.auth and not (user and password):
        parser.error("--auth must look like user:password")
    host = flags.host or ("0.0.0.0" if flags.listen else usual.host)
    if flags.auth and flags.no_auth:
        parser.error("--auth and --no-auth contradict each other: give one of them")
    if host not in LOCAL_HOSTS and not (flags.auth or flags.no_auth):
        parser.error(
            "serving the network needs a login: add --auth user:password, or --no-auth to let "
            "everyone in"
        )
    if flags.mcp and not find_spec("mcp"):
        parser.error("--mcp needs one more library: pip install 'gradio[mcp]'")
    try:
        re.compile(flags.cors_allow_origins_regex)
    except re.error as fault:
        parser.error(f"--cors-allow-origins-regex is no regular expression: {fault}")
    models_dirs = [path.resolve() for path in flags.models_dir or [usual.models_dir]]
    return Settings(
        models_dir=models_dirs[0],
        more_models_dirs=(*models_dirs[1:], *usual.more_models_dirs),
        embeddings_dirs=tuple(p.resolve() for p in flags.embeddings_dir or usual.embeddings_dirs),
        outputs_dir=flags.outputs_dir.resolve(),
        styles_file=flags.styles_file.resolve(),
        filename_pattern=flags.filename_pattern,
        folder_pattern=flags.folder_pattern,
        host=host,
        port=flags.port,
        device=flags.device,
        precision=flags.precision,
        offload=flags.offload,
        compiled=flags.compile,
        auth=(user, password) if flags.auth else None,
        allowed_hosts=tuple(flags.allowed_host),
        behind_proxy=flags.behind_proxy,
        mcp=flags.mcp,
        frame_ancestors=tuple(flags.frame_ancestor),
        civitai=not flags.no_civitai,
        cors_origins=tuple(filter(None, map(str.strip, flags.cors_allow_origins.split(",")))),
        cors_origins_regex=flags.cors_allow_origins_regex,
    )


def main() -> None:
    """Build the app as the flags say and serve it."""
    settings = parse_flags(space_flags(os.environ) + sys.argv[1:])
    terminal = logging.StreamHandler(sys.stdout)
    terminal.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[terminal])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    serve(settings)
