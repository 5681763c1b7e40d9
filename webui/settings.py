"""What the flags and the environment decide: folders, address, device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine reaches."""
CODE = Path(__file__).resolve().parent.parent
"""The folder that holds the package: a checkout, or where pip puts packages."""
INSTALLED = (CODE / "webui" / "shipped").is_dir()
"""Whether this is a package that pip installed; only a built one has that folder."""
SHIPPED = CODE / "webui" / "shipped" if INSTALLED else CODE
"""The folder that holds what comes with the app: the starter model and the first embeddings."""
ROOT = platformdirs.user_data_path("embeddings-webui", appauthor=False) if INSTALLED else CODE
"""The folder in which the default folders lie: the checkout, or the user's own data."""


@dataclass(frozen=True)
class Settings:
    """Everything that is decided before the app starts and stays as it is."""

    models_dir: Path = ROOT / "models"
    """Checkpoints; a sub-folder or file each."""
    more_models_dirs: tuple[Path, ...] = (SHIPPED / "models",) if INSTALLED else ()
    """Further folders of checkpoints, e.g. those of other programs."""
    embeddings_dirs: tuple[Path, ...] = (ROOT / "embeddings",)
    """Folders of embedding files; the first receives uploads and trained embeddings."""
    outputs_dir: Path = ROOT / "outputs"
    """Pictures (txt2img/<date>/) and training runs (train/<run>/)."""
    styles_file: Path = ROOT / "styles.csv"
    """Pieces of prompts under names, as AUTOMATIC1111 keeps them."""
    filename_pattern: str = "[seed]"
    """What a picture's file is called behind its number, by AUTOMATIC1111's placeholders."""
    folder_pattern: str = "[date]"
    """The sub-folder of a picture, likewise; "" for none."""
    languages_dir: Path = ROOT / "languages"
    """A person's own tables of the page's texts, ``xx.json``; need not be there."""
    templates_dir: Path = ROOT / "textual_inversion_templates"
    """Files of caption templates, as AUTOMATIC1111 keeps them; need not be there."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 7860
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = "auto"
    """auto, fp32, fp16 or bf16."""
    offload: str = "none"
    """model or sequential: networks, or their blocks, wait in main memory and come to a CUDA GPU
    to compute."""
    compiled: bool = False
    """Whether the UNet that draws, and the steps of training, are compiled in the background."""
    auth: tuple[str, str] | None = None
    """User and password that the page asks for, or none."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which browsers may reach the app, e.g. that of a proxy before it."""
    behind_proxy: bool = False
    """Whether the headers that a proxy adds, X-Forwarded-…, are believed."""
    mcp: bool = False
    """Whether language models may use the app as a tool server; needs ``gradio[mcp]``."""
    frame_ancestors: tuple[str, ...] = ()
    """Origins, https://my.example, of pages that may show the app in a frame."""

    civitai: bool = True
    """Whether the page offers to look embeddings up on CivitAI; nothing does so by itself."""
    cors_origins: tuple[str, ...] = ()
    """Origins of pages that may call the API from a browser; "*" is all of them."""
    cors_origins_regex: str = ""
    """The same as a regular expression that the whole of an origin must fit; "" is none."""

    @property
    def cache_dir(self) -> Path:
        """Folder for what can be made again: the file index, hashes. It is never served."""
        return self.outputs_dir / ".cache"

    @property
    def uploads_dir(self) -> Path:
        """Folder for what the page was sent and what it offers for download, kept for a day."""
        return self.outputs_dir / ".uploads"
