"""What people do that writes files, told step by step, and what must be there after a fault."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image

from tests.hostile.faulty_disks import ForgetfulDisk, FullDisk, PowerCut
from tests.training.conftest import tiny_model
from webui import files
from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.embeddings.library import EmbeddingLibrary, Notes
from webui.errors import AppError
from webui.files import room_on_disk, write_whole
from webui.generation import outputs
from webui.job_state import JobState
from webui.training.dataset import read_pictures
from webui.training.recipe import Recipe
from webui.training.runs import run_folder
from webui.training.runs.run_folder import RECORD, Run, Status
from webui.training.runs.runner import carry_out

Tell = Callable[..., None]
"""Told ``("begin" or "done", what, …)`` before and after each change."""
Story = list[list[Any]]
Scenario = Callable[[Path, Tell], None]
RECIPE = Recipe(steps=6, evaluate_every=2, preview_every=0, resolution=32, evaluation_tuples=4)
SEED = 5


def vectors_of(number: int) -> dict[str, torch.Tensor]:
    """Return vectors that differ for each number."""
    return {"clip_l": torch.full((2, 768), float(number % 1000))}


def opened(folder: Path) -> EmbeddingLibrary:
    """Return a library as the app opens it, without watching for changes."""
    library = EmbeddingLibrary([folder / "embeddings"], folder / "index.sqlite")
    library.start()
    return library


def installing(folder: Path, tell: Tell) -> None:
    """Install embeddings, each of three names again and again."""
    library = opened(folder)
    for number in range(9):
        made = Embedding(f"e{number % 3}", vectors_of(number))
        tell("begin", made.name, made.content_hash)
        library.install(made, overwrite=True)
        tell("done", made.name, made.content_hash)
    library.stop()


def renaming(folder: Path, tell: Tell) -> None:
    """Rename an embedding with its preview and notes, delete it, and bring it back."""
    library = opened(folder)
    library.install(Embedding("a", vectors_of(1)), overwrite=True)
    library.save_notes("a", Notes(description="kept"))
    library.set_preview("a", Image.new("RGB", (8, 8)))
    tell("begin", "a", "a")
    tell("done", "a", "a")
    for old, new in (("a", "b"), ("b", "c"), ("c", "d")):
        tell("begin", old, new)
        library.rename(old, new)
        tell("done", old, new)
    tell("begin", "d", "trash")
    token = library.delete("d")
    tell("done", "d", "trash")
    tell("begin", "trash", "d")
    library.undo_delete(token)
    tell("done", "trash", "d")
    library.stop()


def saving(folder: Path, tell: Tell) -> None:
    """Save notes, and how a run stands."""
    library = opened(folder)
    library.install(Embedding("a", vectors_of(1)), overwrite=True)
    (folder / "run").mkdir(exist_ok=True)
    run = Run(folder / "run")
    for number in range(8):
        tell("begin", "notes", str(number))
        library.save_notes("a", Notes(description=str(number)))
        tell("done", "notes", str(number))
        tell("begin", "status", str(number))
        run.set_status(Status(JobState.TRAINING, str(number)))
        tell("done", "status", str(number))
    library.stop()


def throwing_away(folder: Path, tell: Tell) -> None:
    """Throw an image with its copies and a training run away, bring them back, keep the image."""
    outputs.finish_broken_off(folder)
    images, runs = folder / "txt2img", folder / "train"
    image = Image.new("RGB", (8, 8))
    path = outputs.save_picture(image, "a star\nSteps: 3", images)
    outputs.save_copies(image, "a star", path, jpg=True, txt=True)
    write_whole(runs / "run" / RECORD, "{}")
    tell("done", "image", "folder")
    tell("done", "run", "folder")
    for number in range(3):
        for where, act in (("trash", outputs.discard), ("folder", outputs.bring_back)):
            tell("begin", "image", where)
            act(images, path.name)
            tell("done", "image", where)
        for where, move in (("trash", run_folder.discard), ("folder", run_folder.restore)):
            tell("begin", "run", where)
            move(runs, "run")
            tell("done", "run", where)
        tell("begin", "kept", str(number))
        with room_on_disk():
            outputs.keep_copy(path, "a star\nSteps: 3", folder / "saved")
        tell("done", "kept", str(number))


@cache
def model() -> Any:
    """Return a model with random weights, always the same."""
    torch.set_num_threads(1)
    return tiny_model()


class Host:
    """Carries a run out and tells what has been kept."""

    def __init__(self, run: Run, tell: Tell) -> None:
        self.run, self.tell = run, tell

    def hold(self, who: str) -> Any:
        return nullcontext()

    def order(self) -> None:
        return None

    def set_status(self, state: JobState, message: str) -> None:
        self.run.set_status(Status(state, message))

    def report_phase(self, phase: str, done: int, total: int) -> None:
        pass

    def log_event(self, event: Mapping[str, Any]) -> None:
        state = self.run.folder / "state.pt"
        if event["kind"] == "step" and state.exists():  # saved after the last evaluation
            self.tell("done", "checkpoints", list(self.run.checkpoints()))
        self.run.log_event(event)

    def report_speed(self, steps_per_s: float, eta_s: float) -> None:
        pass

    def draw(self, prompts: Sequence[Any], embedding: Any, seed: int) -> list[Image.Image]:
        return []

    def compare(self, recipe: Any, pictures: Sequence[Any]) -> None:
        return None


def training(folder: Path, tell: Tell) -> None:
    """Train from the beginning to the end, and install the outcome."""
    made = []
    (folder / "pictures").mkdir()
    for number in range(3):
        noise = numpy.random.default_rng(number).integers(0, 255, (40, 40, 3), numpy.uint8)
        made.append(folder / "pictures" / f"{number}.png")
        Image.fromarray(noise).save(made[-1])
    named = (model().name, model().short_hash)
    run = Run.create(folder / "train", "mine", "cat", RECIPE, read_pictures(made), named)
    tell("done", "run", run.run_id)
    finish(run, tell)


def finish(run: Run, tell: Tell) -> str:
    """Carry a run out to its end; return the hash of what it learned."""
    outcome = carry_out(run, model(), Host(run, tell))
    assert outcome.learned is not None
    return outcome.learned.embeddings[0].content_hash


@cache
def expected_outcome() -> str:
    """Return the hash of what an undisturbed run learns."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        story: Story = []
        training(Path(folder), lambda *told: story.append(list(told)))
        [run] = (Path(folder) / "train").iterdir()
        return finish(Run(run), lambda *told: None)


def lost_installing(folder: Path, story: Story) -> list[str]:
    """Return what is missing after the installing was broken off."""
    lost = []
    for name in {told[1] for told in story}:
        allowed = _last(story, name)
        path = folder / "embeddings" / f"{name}.safetensors"
        found = formats.read(path).content_hash if path.exists() else None
        if found not in allowed:
            lost.append(f"{name} holds {found}, not one of {allowed}")
    return lost


def lost_renaming(folder: Path, story: Story) -> list[str]:
    """Return what is missing after the renaming was broken off and the app started again."""
    if not story:
        return []
    library = opened(folder)
    cards = [card for card in library.snapshot().cards if card.usable]
    library.stop()
    _, old, new = story[-1]
    allowed = {new} if story[-1][0] == "done" else {old, new}
    trashed = list((folder / "embeddings" / ".trash").rglob("*.safetensors"))
    if len(cards) + len(trashed) != 1:
        return [f"{len(cards)} cards and {len(trashed)} deleted files, not one of them"]
    if trashed:
        whole = len([path for path in trashed[0].parent.iterdir() if path.is_file()]) == 3
        return [] if "trash" in allowed and whole else ["it lies in the trash, or not all of it"]
    [card] = cards
    lost = [] if card.name in allowed else [f"it is called {card.name}, not {allowed}"]
    lost += [] if card.notes.description == "kept" else [f"the notes of {card.name}"]
    return lost + ([] if card.preview else [f"the preview of {card.name}"])


def lost_saving(folder: Path, story: Story) -> list[str]:
    """Return what is missing after the saving was broken off."""
    lost = []
    if allowed := _last(story, "notes"):
        library = opened(folder)
        card = library.card("a")
        library.stop()
        found = (card and card.notes.description) or None
        lost += [] if found in allowed else [f"notes {found}, not {allowed}"]
    if allowed := _last(story, "status"):
        exists = (folder / "run" / "status.json").exists()
        found = Run(folder / "run").status().message if exists else None
        lost += [] if found in allowed else [f"status {found}, not {allowed}"]
    return lost


def count_files(folder: Path) -> int:
    """Return how many files there are below a folder, locks left out."""
    return sum(path.is_file() and path.name != run_folder.LOCK for path in folder.rglob("*"))


def lost_throwing_away(folder: Path, story: Story) -> list[str]:
    """Return what is missing after throwing away was broken off and the app started again."""
    if not story:
        return []
    outputs.finish_broken_off(folder)
    lost = []
    for what, place, count in (("image", "txt2img", 3), ("run", "train/run", 1)):
        homes = {"folder": folder / place, "trash": folder / ".trash" / place}
        there = {where: count_files(home) for where, home in homes.items() if count_files(home)}
        allowed = _last(story, what)
        if list(there.values()) != [count] or not there.keys() <= allowed:
            lost.append(f"the {what}: {there}, not {count} in one of {allowed}")
    kept = sum(told[:2] == ["done", "kept"] for told in story)
    log = folder / "saved" / outputs.LOG
    rows = list(csv.DictReader(log.read_text().splitlines())) if log.exists() else []
    copies = len(list((folder / "saved").glob("*.png")))
    if copies < kept or len(rows) < kept or any(not row["filename"] for row in rows[:kept]):
        lost.append(f"{kept} copies were noted, there are {copies} and {len(rows)} rows")
    return lost


def lost_training(folder: Path, story: Story, to_the_end: bool = True) -> list[str]:
    """Return what is missing after a training was broken off; also resume it to its end."""
    runs = [told[2] for told in story if told[1] == "run"]
    if not runs:
        return []
    run = Run(folder / "train" / runs[0])
    kept = max((told[2] for told in story if told[1] == "checkpoints"), key=len, default=[])
    lost = [f"the checkpoint {step}" for step in kept if step not in run.checkpoints()]
    for step in run.checkpoints():
        run.read_checkpoint(step)
    run.status()
    if kept and run.read_state() is None:
        lost.append("the state to go on from")
    if to_the_end and finish(run, lambda *told: None) != expected_outcome():
        lost.append("it went another way when it was resumed")
    return lost


def _last(story: Story, name: str) -> set[str | None]:
    """Return what may be there: what was done last, and what was begun after it."""
    allowed: set[str | None] = {None}
    for deed, what, value in story:
        if what == name:
            allowed = {value} if deed == "done" else allowed | {value}
    return allowed


@dataclass(frozen=True)
class Case:
    """A scenario, and what looks at what it has left."""

    run: Scenario
    lost: Callable[[Path, Story], list[str]]


CASES = {
    "installing": Case(installing, lost_installing),
    "renaming": Case(renaming, lost_renaming),
    "saving": Case(saving, lost_saving),
    "throwing away": Case(throwing_away, lost_throwing_away),
    "training": Case(training, lost_training),
}


def lost(case: Case, folder: Path, story: Story) -> list[str]:
    """Return what is missing; a fault while looking for it is something missing, too."""
    try:
        return case.lost(folder, story)
    except Exception as fault:
        return [f"{type(fault).__name__}: {fault}"]


def killed(case: Case, folder: Path, after_s: float) -> tuple[Story, bool]:
    """Carry a scenario out in a process that is killed after so long.

    Returns what it had told until then, and whether it was killed before its end.
    """
    folder.mkdir()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            case.run(folder, lambda *told: _write(writing, told))
        finally:
            os._exit(0)
    os.close(writing)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as stream:
        story = [json.loads(line) for line in stream]
    return story, os.WIFSIGNALED(status)


def _write(pipe: int, told: Sequence[Any]) -> None:
    os.write(pipe, json.dumps(told).encode() + b"\n")


@contextmanager
def written_through(disk: files.Disk) -> Iterator[None]:
    """Let everything be written through another disk inside the ``with`` block."""
    files.disk = disk
    try:
        yield
    finally:
        files.disk = files.Disk()


def with_full_disk(case: Case, folder: Path, full_at: int) -> tuple[bool, list[str]]:
    """Carry a scenario out on a disk that is full from an operation on.

    Returns whether it came so far, and what was lost, or said in no words, by it.
    """
    folder.mkdir()
    story: Story = []
    problem: BaseException | None = None
    with written_through(FullDisk(full_at)):
        try:
            case.run(folder, lambda *told: story.append(list(told)))
        except (AppError, OSError) as fault:
            problem = fault
    found = lost(case, folder, story)
    if isinstance(problem, AppError) and "disk is full" not in str(problem):
        found.append(f"no word of the full disk: {problem}")
    found += [f"left behind: {path.name}" for path in folder.rglob(f"*{files.TEMPORARY_SUFFIX}")]
    return problem is not None, found


def with_power_cut(
    case: Case, folder: Path, cut_at: int, chance: random.Random
) -> tuple[bool, list[str]]:
    """Carry a scenario out until the power is cut at an operation.

    Returns whether it came so far, and what is lost after the power has come back.
    """
    before, after = folder / "before", folder / "after"
    before.mkdir(parents=True)
    story: Story = []
    disk, cut = ForgetfulDisk(before, cut_at), False
    with written_through(disk):
        try:
            case.run(before, lambda *told: story.append(list(told)))
        except PowerCut:
            cut = True
    disk.after_power_cut(after, chance)
    found = lost(case, after, story)
    shutil.rmtree(folder)
    return cut, found


def quick(case: Case) -> Case:
    """Return a case whose training is not resumed to its end, which takes longest."""
    if case.lost is not lost_training:
        return case
    return replace(case, lost=lambda folder, story: lost_training(folder, story, to_the_end=False))
