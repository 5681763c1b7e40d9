"""A training run on disk: all that is needed to watch it, to resume it exactly, and to use it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from webui import files
from webui.errors import AppError, UnreadableFile
from webui.files import append_whole, contained, move, replacing, room_on_disk, write_whole
from webui.images import fitting_suffix
from webui.job_state import JobState
from webui.training.dataset import MASK_ENDING, Picture, ReadPicture, read_picture
from webui.training.learned.concepts import Concept, concept_shown, concepts_of, names_in, title_of
from webui.training.learned.step import (
    ByName,
    LearnedStep,
    as_tensors,
    from_tensors,
    learned_step,
)
from webui.training.recipe import Recipe
from webui.training.runs.report import EvalResult

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from webui.training.trainer import Progress

log = logging.getLogger(__name__)

EVENTS, RECORD, STATUS = "events.jsonl", "run.json", "status.json"
STATE, REPORT = "state.pt", "report.json"
START = "start.safetensors"
LOCK = ".lock"
TRASH = ".trash"
"""Folder beside that of the runs, where deleted ones lie until someone empties it."""
STATE_FORMAT = 2
"""Counted up whenever what is in ``STATE`` means something else; 1 had no momentum and no mean."""


@dataclass(frozen=True)
class Record:
    """What a run was asked to do; written once."""

    name: str
    """Name of the embedding; of several with commas between them."""
    initializer: str
    overwrite: bool
    recipe: Recipe
    model_name: str
    model_hash: str
    created: str
    """Local time, ISO 8601."""
    data: tuple[tuple[str, str], ...]
    """File inside ``data/`` and SHA-256 of each picture; with several names those of each lie in a
    folder of its name."""

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The things that are learned."""
        return concepts_of(self.name, self.initializer)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the embeddings."""
        return names_in(self.name)

    @property
    def title(self) -> str:
        """What the LoRA of the run is called."""
        return title_of(self.names)

    @property
    def model(self) -> tuple[str, str]:
        """Name and short hash of the checkpoint."""
        return self.model_name, self.model_hash

    def concept_of(self, file: str) -> int:
        """Return which name one of the files of ``data`` shows, counted from 0."""
        return concept_shown(Path(file), self.names) or 0


@dataclass(frozen=True)
class InstalledFile:
    """An embedding or a LoRA that a run led to."""

    name: str
    path: str
    step: int | None
    """Whose vectors are in it; runs of earlier versions do not tell."""


@dataclass(frozen=True)
class Status:
    """How a run stands, as far as the disk knows."""

    state: JobState
    message: str = ""
    problem: str | None = None
    installed: tuple[InstalledFile, ...] = ()
    """The embedding files that it led to, in the order of its names."""
    lora: InstalledFile | None = None
    """The LoRA file that it led to, if it learned one."""

    def with_installed(self, names: Sequence[str], file: InstalledFile) -> Status:
        """Return the status with a name's file in place of the one that it had."""
        files = {each.name: each for each in (*self.installed, file)}
        return replace(self, installed=tuple(files[name] for name in names if name in files))


@dataclass(frozen=True)
class Run:
    """One folder below ``outputs/train/``."""

    folder: Path

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        initializer: str,
        recipe: Recipe,
        pictures: Sequence[Picture],
        model: tuple[str, str],
        overwrite: bool = False,
        start: ByName | None = None,
        copied: Callable[[Picture, Path], None] = lambda picture, copy: None,
    ) -> Run:
        """Make a folder for a new run and copy the pictures, with their texts, into it.

        ``name`` and ``initializer`` as for ``concepts_of``; ``model`` is the name and short hash of
        the checkpoint; ``start`` are the vectors that it begins with in place of the
        initializers', by name; ``copied`` is told each copy.
        """
        now, names = datetime.now(), names_in(name)
        base = f"{now:%Y%m%d-%H%M%S}-{title_of(names)}"
        number = 1
        while True:
            folder = contained(root, base if number == 1 else f"{base}-{number}")
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
        with _whole_or_gone(folder), room_on_disk():
            files.disk.make_folder(folder / "data")
            files.disk.sync_folder(root)
            data = []
            for index, picture in enumerate(pictures, start=1):
                stem = re.sub(r"[^\w .-]", "_", picture.path.stem)[:80]
                place = folder / "data"
                if len(names) > 1:
                    place = contained(place, names[picture.concept])
                copy = place / f"{index:02d}-{stem}{fitting_suffix(picture.path)}"
                write_whole(copy, picture.path.read_bytes())
                if picture.has_text_file:
                    write_whole(copy.with_suffix(".txt"), picture.text)
                if picture.mask_file is not None:
                    mask = copy.with_name(copy.stem + MASK_ENDING)
                    write_whole(mask, picture.mask_file.read_bytes())
                copied(picture, copy)
                data.append((copy.relative_to(folder / "data").as_posix(), picture.sha256))
            record = Record(
                ", ".join(names),
                initializer,
                overwrite,
                recipe,
                *model,
                now.isoformat(timespec="seconds"),
                tuple(data),
            )
            run = cls(folder)
            if start is not None:
                _write_tensors(folder / START, as_tensors(start, {}))
            run.set_status(Status(JobState.QUEUED))
            write_whole(folder / RECORD, _json({**asdict(record), "recipe": recipe.to_dict()}))
        return run

    def record(self) -> Record:
        """Read what the run was asked to do."""
        values = _read_json(self.folder / RECORD)
        try:
            old = {"tensorboard": values.pop("tensorboard", False)}  # until it was the recipe's
            recipe = Recipe.from_dict(old | values.pop("recipe"))
            data = tuple((str(file), str(digest)) for file, digest in values.pop("data"))
            return Record(recipe=recipe, data=data, **values)
        except (KeyError, TypeError, ValueError) as problem:
            raise UnreadableFile(f"{RECORD} of the run {self.run_id} is damaged.") from problem

    def pictures(self, read: ReadPicture = read_picture) -> list[Picture]:
        """Read the run's pictures; AppError if one was changed or taken away."""
        record, pictures = self.record(), []
        for file, digest in record.data:
            try:
                path = contained(self.folder / "data", file)
                picture = replace(read(path), concept=record.concept_of(file))
            except AppError:
                picture = None
            if picture is None or picture.sha256 != digest:
                raise AppError(
                    f"The image “{file}” of the run {self.run_id} was changed or deleted; "
                    "put it back, or start a new run."
                )
            pictures.append(picture)
        return pictures

    def status(self) -> Status:
        """Read how the run stands."""
        values = _read_json(self.folder / STATUS)
        try:
            if isinstance(path := values.get("installed"), str | None):  # of earlier versions
                step = values.pop("installed_step", None)
                name = self.record().name
                values["installed"] = [{"name": name, "path": path, "step": step}] if path else []
            files = tuple(InstalledFile(**each) for each in values.pop("installed"))
            lora = InstalledFile(**found) if (found := values.pop("lora", None)) else None
            return Status(JobState(values.pop("state")), **values, installed=files, lora=lora)
        except (KeyError, TypeError, ValueError) as problem:
            raise UnreadableFile(f"{STATUS} of the run {self.run_id} is damaged.") from problem

    def set_status(self, status: Status) -> None:
        """Write how the run stands."""
        write_whole(self.folder / STATUS, _json(asdict(status)))

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep other programs from working on the run inside the ``with`` block.

        Raises AppError if one does. What a killed program had is free again.
        """
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                yield
        except Timeout as problem:
            raise AppError(
                f"Another program works on the run {self.run_id}; wait for it, or end it there."
            ) from problem

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Append one event to the log; nothing in the log is ever changed."""
        line, path = json.dumps(event, ensure_ascii=False) + "\n", self.folder / EVENTS
        if path.exists() and path.stat().st_size:
            with open(path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line  # after a crash
        append_whole(path, line.encode())

    def events(self) -> list[dict[str, Any]]:
        """Return all events; a last line that was cut off by a crash is left out."""
        path = self.folder / EVENTS
        if not path.is_file():
            return []
        events = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                log.warning("%s of %s holds a line that was cut off", EVENTS, self.run_id)
        return events

    def save_progress(self, progress: Progress, seconds: float) -> None:
        """Write all that is needed to resume exactly."""
        import torch

        state = {
            "format": STATE_FORMAT,
            "seconds": seconds,
            "now": progress.snapshot(),
            "good": progress.good,
            "rate_scale": progress.rate_scale,
            "roll_backs": progress.roll_backs,
            "loss_scale": progress.loss_scale,
            "evaluations": [asdict(item) for item in progress.evaluations],
            "best_step": progress.best_step,
            "kept": progress.kept,
            "best_vectors": progress.best_vectors,
            "best_lora": progress.best_lora,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        if (self.folder / EVENTS).exists():
            files.disk.sync(self.folder / EVENTS)  # what led here is on the disk before it
        write_whole(self.folder / STATE, buffer.getvalue())

    def read_state(self) -> dict[str, Any] | None:
        """Read what ``save_progress`` wrote, or None if the run had not got so far."""
        path = self.folder / STATE
        if not path.is_file():
            return None
        import torch

        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as problem:  # torch raises many kinds for damaged files
            raise UnreadableFile(
                f"{STATE} of the run {self.run_id} is damaged; it cannot be resumed."
            ) from problem
        return state

    def restore(self, progress: Progress) -> float:
        """Bring a fresh progress to where the run was saved; returns the seconds spent so far."""
        from webui.training.trainer import Evaluated

        state = self.read_state()
        if state is None:
            return 0.0
        if state["format"] != STATE_FORMAT:
            raise AppError(
                f"The run {self.run_id} was paused by another version of this program, which "
                "cannot go on where it stopped. Install one of its kept steps, or train anew."
            )
        progress.take_up(state["now"])
        progress.good = state["good"]
        progress.rate_scale, progress.roll_backs = state["rate_scale"], state["roll_backs"]
        progress.loss_scale = state.get("loss_scale", progress.loss_scale)
        progress.best_step, progress.best_vectors = state["best_step"], state["best_vectors"]
        progress.best_lora = state.get("best_lora", {})
        progress.kept = state.get("kept", ())
        progress.evaluations = [
            Evaluated(
                **{
                    **item,
                    "score": EvalResult(**item["score"]),
                    "each": tuple(EvalResult(**each) for each in item.get("each", ())),
                }
            )
            for item in state["evaluations"]
        ]
        return float(state["seconds"])

    def save_checkpoint(
        self, step: int, vectors: ByName, lora: Mapping[str, Tensor] = MappingProxyType({})
    ) -> None:
        """Keep what was learned at a step for the scrubber and for installing."""
        path = self.folder / "checkpoints" / f"step-{step:06d}.safetensors"
        _write_tensors(path, as_tensors(vectors, lora))

    def read_start(self) -> ByName | None:
        """Read the vectors that the run begins with, or None if they are the initializers'."""
        record = self.record()
        if not record.recipe.continue_from:
            return None
        from safetensors.torch import load

        try:
            return from_tensors(record.names, load((self.folder / START).read_bytes()))[0]
        except Exception as problem:  # safetensors raises a kind of its own
            raise UnreadableFile(
                f"{START} of the run {self.run_id}, which it continues from, is damaged or gone; "
                "start a new run."
            ) from problem

    def checkpoints(self) -> tuple[int, ...]:
        """Return the steps whose vectors are kept, in order."""
        found = (self.folder / "checkpoints").glob("step-*.safetensors")
        return tuple(sorted(int(path.stem[5:]) for path in found if path.stem[5:].isdigit()))

    def read_checkpoint(self, step: int) -> LearnedStep:
        """Read what was learned at a step; AppError if it was not kept."""
        from safetensors.torch import load

        path = self.folder / "checkpoints" / f"step-{step:06d}.safetensors"
        if not path.is_file():
            raise AppError(f"Step {step} of the run {self.run_id} was not kept.")
        record = self.record()
        vectors, lora = from_tensors(record.names, load(path.read_bytes()))
        return learned_step(step, vectors, lora, record.model)

    def preview_path(self, step: int, number: int) -> Path:
        """Return where the preview of a step's prompt lies, counted from 0, if it was drawn."""
        return self.folder / "previews" / f"step-{step:06d}-{number}.png"

    def save_preview(self, step: int, number: int, image: Image.Image) -> Path:
        """Keep a preview picture; returns its path."""
        path = self.preview_path(step, number)
        with replacing(path) as temporary:
            image.save(temporary, "PNG")
        return path

    def save_report(self, report: Mapping[str, Any]) -> None:
        """Write the final report."""
        write_whole(self.folder / REPORT, _json(report))

    def read_report(self) -> dict[str, Any] | None:
        """Read the final report, or None if there is none yet."""
        path = self.folder / REPORT
        return _read_json(path) if path.is_file() else None


@contextmanager
def _whole_or_gone(folder: Path) -> Iterator[None]:
    """Remove a folder again if the ``with`` block does not come to its end."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save

    kept = {key: rows.detach().cpu().contiguous() for key, rows in tensors.items()}
    write_whole(path, save(kept))


def list_runs(root: Path) -> list[Run]:
    """Return the runs below ``root``, the latest first."""
    if not root.is_dir():
        return []
    folders = [path for path in root.glob("[!.]*") if (path / RECORD).is_file()]
    return [Run(path) for path in sorted(folders, key=lambda path: path.name, reverse=True)]


def discard(root: Path, run_id: str) -> None:
    """Move a run to the trash; AppError if there is none, or another program works on it."""
    if not (contained(root, run_id) / RECORD).is_file():
        raise AppError(f"There is no training run “{run_id}”.")
    with Run(contained(root, run_id)).claim():
        pass
    _move(root, root.parent / TRASH / root.name, run_id)


def restore(root: Path, run_id: str) -> None:
    """Move a run from the trash back to where it was; AppError if it is not there."""
    _move(root.parent / TRASH / root.name, root, run_id)


def _move(source: Path, target: Path, run_id: str) -> None:
    old, new = contained(source, run_id), contained(target, run_id)
    if not (old / RECORD).is_file():
        raise AppError(f"There is no training run “{run_id}” to move.")
    if new.exists():
        raise AppError(f"There is another run “{run_id}” now; move that one away first.")
    with room_on_disk():
        move(old, new)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, indent=1)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UnreadableFile(f"{path.name} of {path.parent.name} cannot be read.") from problem
    if not isinstance(values, dict):
        raise UnreadableFile(f"{path.name} of {path.parent.name} is damaged.")
    return values
