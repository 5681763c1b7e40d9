"""Which checkpoints lie in the models folder, found without reading their weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.errors import AppError

log = logging.getLogger(__name__)

STARTER = "starter"
"""The folder name of the small model that ships with the app."""
SINGLE_FILES = (".safetensors", ".ckpt")
AUTOMATIC_VAE, NO_VAE = "Automatic", "None"
"""What AUTOMATIC1111's menu of VAEs has besides files."""
VAE_FOLDER = "vae"
VAE_FILES = (".safetensors", ".pt", ".ckpt")
NOT_CHECKPOINTS = frozenset(
    "lora loras lycoris embeddings hypernetworks controlnet clip clip_vision text_encoders unet "
    "diffusion_models upscale_models esrgan realesrgan codeformer gfpgan vae_approx vae-approx "
    "insightface".split()
    + [VAE_FOLDER]
)
"""Sub-folders of the models folder that hold other things, here or in other programs."""


@dataclass(frozen=True)
class Checkpoint:
    """A model that could be loaded."""

    name: str
    """As shown in the page: the path below the models folder without an extension."""
    path: Path
    root: Path | None = None
    """The models folder it was found in; None if it was not searched for."""
    vae: Path | str = AUTOMATIC_VAE
    """The file of another VAE; or ``AUTOMATIC_VAE`` for one that lies beside it under its name, if
    there is one; or ``NO_VAE`` for its own."""

    @property
    def is_folder(self) -> bool:
        """True for a diffusers folder, False for a single file."""
        return self.path.is_dir()


def list_checkpoints(*folders: Path) -> list[Checkpoint]:
    """Return the checkpoints below ``folders``, people's own first, the starter model last.

    A folder with a model_index.json is a diffusers checkpoint and is not searched further.
    Of checkpoints with the same name, all but the first keep their ending in it, and if that is
    not enough, the name of the folder they were found in.
    """
    found: dict[str, Checkpoint] = {}
    searched: set[Path] = set()

    def add(path: Path, root: Path) -> None:
        whole = path.relative_to(root).as_posix()
        short = whole if path.is_dir() else whole.removesuffix(path.suffix)
        names = (short, whole, f"{root.name}/{whole}", str(path))
        name = next(name for name in names if name not in found)
        found[name] = Checkpoint(name, path, root)

    def search(place: Path, root: Path) -> None:
        if place.resolve() in searched:  # links may lead in circles
            return
        searched.add(place.resolve())
        try:
            entries = sorted(place.iterdir(), key=lambda path: path.name.lower())
        except OSError as error:
            log.warning("The folder %s was passed over: %s", place, error)
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if (entry / "model_index.json").is_file():
                    add(entry, root)
                elif entry.name.lower() not in NOT_CHECKPOINTS:
                    search(entry, root)
            elif entry.suffix.lower() in SINGLE_FILES and not entry.stem.lower().endswith(".vae"):
                add(entry, root)

    for folder in folders:
        if folder.is_dir():
            search(folder, folder)
    return sorted(found.values(), key=lambda checkpoint: checkpoint.name == STARTER)


def separate_vae(checkpoint: Checkpoint) -> Path | None:
    """Return the VAE file that goes with a checkpoint, or None if it brings its own.

    "Automatic" looks for it as AUTOMATIC1111 does: ``<checkpoint>.vae.safetensors`` (or .pt, .ckpt)
    beside it, then ``<checkpoint>.safetensors`` in the sub-folder vae/ of the models folder.
    """
    if checkpoint.vae != AUTOMATIC_VAE:
        return checkpoint.vae if isinstance(checkpoint.vae, Path) else None
    path = checkpoint.path
    stem = path.name if checkpoint.is_folder else path.stem
    places = [(path.parent, f"{stem}.vae")]
    for folder in _vae_folders(checkpoint.root):
        places += [(folder, stem), (folder, f"{stem}.vae")]
    for folder, name in places:
        for ending in VAE_FILES:
            if (file := folder / (name + ending)).is_file():
                return file
    return None


def list_vaes(*folders: Path) -> dict[str, Path]:
    """Return the VAE files in the sub-folders vae/ of the models folders, by their file names."""
    found: dict[str, Path] = {}
    for folder in folders:
        for place in _vae_folders(folder):
            for file in sorted(place.iterdir()):
                if file.suffix.lower() in VAE_FILES and file.is_file():
                    found.setdefault(file.name, file)
    return found


def _vae_folders(models: Path | None) -> list[Path]:
    if models is None or not models.is_dir():
        return []
    folders = (path for path in sorted(models.iterdir()) if path.name.lower() == VAE_FOLDER)
    return [folder for folder in folders if folder.is_dir()]


def find_checkpoint(folder: Path, name: str | None = None, more: Sequence[Path] = ()) -> Checkpoint:
    """Return the checkpoint called ``name``, or without a name the one to load at the start.

    That is the first of people's own, and the starter model when there is none. ``more`` are
    further folders to search. Raises AppError if there is no such checkpoint.
    """
    checkpoints = list_checkpoints(folder, *more)
    places = ", ".join(map(str, (folder, *more)))
    if not checkpoints:
        raise AppError(
            f"There is no model in {places}. Put a checkpoint there, or restore the folder "
            f"{STARTER}/ that ships with the app."
        )
    if name is None:
        return checkpoints[0]
    for checkpoint in checkpoints:
        if checkpoint.name == name:
            return checkpoint
    raise AppError(f"There is no model “{name}” in {places}.")
