"""Which checkpoint is loaded: one at a time, loaded in the background, switched on request.

The one that was loaded before waits in main memory if there is room, so that switching back and
forth between two reads nothing from the disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from webui.devices.choice import choose_device, choose_dtype
from webui.devices.compiling import Compiled
from webui.errors import AppError, BadField
from webui.models.catalog import (
    AUTOMATIC_VAE,
    NO_VAE,
    Checkpoint,
    find_checkpoint,
    list_checkpoints,
    list_vaes,
)
from webui.models.hashes import known_short_hash
from webui.models.loader import load
from webui.models.model_cache import (
    Fingerprint,
    fingerprint,
    offload_to_cpu,
    on_device,
    release,
    room_bytes,
)
from webui.studio.gpu import GpuGate

if TYPE_CHECKING:
    from webui.models.model import Model

log = logging.getLogger(__name__)

STAYS_FREE_BYTES = 2 * 2**30
"""So much main memory must stay free for a second model to be kept in it."""
GROWS = 2
"""Times that weights can take more memory than their files: half precision read as float32."""


PROCESSOR_CACHE = "processor.json"
"""Lies beside the remembered hashes; see ``faster_in_bf16``."""


@dataclass(frozen=True)
class _Held:
    """A model in memory, and the files it was read from."""

    checkpoint: Checkpoint
    files: Fingerprint
    model: Model


@dataclass(frozen=True)
class ModelChoice:
    """Which model to work with; what is "" is as it is chosen then."""

    name: str = ""
    """A checkpoint's name."""
    vae: str = ""
    """One of ``ModelsInUse.vaes()``."""


@dataclass(frozen=True)
class ModelState:
    """What the page shows about the model."""

    version: int
    """Grows with each change."""
    name: str
    """The model that is loaded or being loaded."""
    model: Model | None
    """The loaded model; None while loading or after a failure."""
    problem: str | None = None
    """Why it could not be loaded."""
    vae: str = AUTOMATIC_VAE
    """Which VAE was asked for: Automatic, None for the model's own, or a file's name."""
    percent: int = 0
    """How much of its weights has been read while it is being loaded, 0 to 100."""
    compiling: bool = False
    """Whether its UNet is being compiled in the background."""
    unloaded: bool = False
    """Whether it was given up to free its memory; whoever needs it next loads it again."""

    @property
    def loading(self) -> bool:
        """True until the model is there or has failed."""
        return self.model is None and self.problem is None and not self.unloaded


class ModelsInUse:
    """Loads and switches checkpoints; everyone asks here for the model."""

    def __init__(
        self,
        folder: Path,
        gate: GpuGate,
        device: str,
        precision: str,
        hash_cache: Path,
        more_folders: Sequence[Path] = (),
        stays_free_bytes: int = STAYS_FREE_BYTES,
        offload: str = "none",
        compiled: bool = False,
    ) -> None:
        """``hash_cache`` remembers the hashes of checkpoints, which take seconds to compute.

        The model before is kept only if so much main memory stays free. ``offload`` and
        ``compiled`` are as in ``Settings``.
        """
        self._folder = folder
        self._more = tuple(more_folders)
        self._hash_cache = hash_cache
        self._gate = gate
        self._device = device
        self._precision = precision
        self._stays_free_bytes = stays_free_bytes
        self._offload = offload
        self._compiled = compiled
        self._changed = threading.Condition()
        self._state = ModelState(0, "", None)
        self._loaded: _Held | None = None
        self._spare: _Held | None = None
        self._wanted = 0
        self._hashes: dict[tuple[Path, int, int], str] = {}

    @property
    def state(self) -> ModelState:
        """The model as it stands now."""
        return self._state

    def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints that could be loaded, as the folder holds them now."""
        return list_checkpoints(self._folder, *self._more)

    def names(self) -> list[str]:
        """Return the names of all checkpoints that could be loaded."""
        return [checkpoint.name for checkpoint in self.checkpoints()]

    def vae_files(self) -> dict[str, Path]:
        """Return the VAE files of models/vae/ by their names."""
        return list_vaes(self._folder, *self._more)

    def vaes(self) -> list[str]:
        """Return what the VAE can be: Automatic, None, and each file of models/vae/."""
        return [AUTOMATIC_VAE, NO_VAE, *self.vae_files()]

    def hashes(self) -> dict[str, str | None]:
        """Return the short hash of each checkpoint by its name; None where it is not known yet.

        Nothing large is read for it: the hash of a large file is known once it has been loaded,
        that of a folder while it is loaded.
        """
        found = {
            checkpoint.name: None if checkpoint.is_folder else self._hash_of(checkpoint.path)
            for checkpoint in self.checkpoints()
        }
        model = self._state.model
        return found | ({model.name: model.short_hash} if model else {})

    def _hash_of(self, path: Path) -> str | None:
        """Return a file's hash if it is known; small files are read once for each change."""
        try:
            status = path.stat()
        except OSError:
            return None
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._hashes and (known := known_short_hash(path, self._hash_cache)):
            self._hashes[key] = known
        return self._hashes.get(key)

    def switch(self, name: str | None = None, vae: str | None = None) -> None:
        """Start loading a checkpoint in the background; None stands for the default.

        ``vae`` is one of ``vaes()``; None leaves the choice as it is. Raises AppError at once if
        there is no such checkpoint, or BadField if there is no such VAE.
        """
        vae = vae or self._state.vae
        checkpoint = self._find(name, vae)
        with self._changed:
            state = self._state
            same = (state.name, state.vae) == (checkpoint.name, vae)
            if same and state.problem is None and not state.unloaded:
                return
            self._wanted += 1
            self._set(checkpoint.name, None, vae=vae)
            self._start_loading(checkpoint)

    def _start_loading(self, checkpoint: Checkpoint) -> None:
        threading.Thread(
            target=self._load, args=(checkpoint, self._wanted), name="load-model", daemon=True
        ).start()

    def _find(self, name: str | None, vae: str) -> Checkpoint:
        checkpoint = find_checkpoint(self._folder, name, self._more)
        return replace(checkpoint, vae=self._vae_file(vae))

    def _vae_file(self, name: str) -> Path | str:
        if name in (AUTOMATIC_VAE, NO_VAE):
            return name
        files = self.vae_files()
        if name not in files:
            raise BadField("sd_vae", f"There is no VAE “{name[:200]}” in {self._folder.name}/vae/.")
        return files[name]

    def get(self, timeout_s: float = 600) -> Model:
        """Return the model, waiting while it is being loaded; one that was unloaded is.

        Raises AppError if it could not be loaded or takes longer than ``timeout_s`` seconds.
        """
        with self._changed:
            if self._state.unloaded:
                self._set(self._state.name, None)
                self.settle()
            self._changed.wait_for(lambda: not self._state.loading, timeout_s)
            state = self._state
        if state.model is None:
            raise AppError(state.problem or f"The model {state.name} is still being loaded.")
        return state.model

    def unload(self) -> None:
        """Give up all models in memory; the gate must be held. The chosen one stays chosen.

        Whoever still uses one, such as a training run, has it to itself.
        """
        with self._changed:
            self._loaded = self._spare = None
            if self._state.name:
                self._wanted += 1
                self._set(self._state.name, None)
                self._state = replace(self._state, unloaded=True)
                self._changed.notify_all()
        release(choose_device(self._device))

    def choice(self, name: str = "", vae: str = "") -> ModelChoice:
        """Return what is chosen now, with another checkpoint or VAE in its place if given."""
        state = self._state
        return ModelChoice(name or state.name, vae or state.vae)

    def bring(self, wish: ModelChoice = ModelChoice()) -> Model:  # noqa: B008 - frozen
        """Return a model on the device, by default the chosen one; the gate must be held.

        For another one the chosen one leaves the device; if its weights have to move for that, it
        counts as being loaded until someone needs it or ``settle`` is called. Raises AppError if
        the checkpoint cannot be loaded.
        """
        with self._changed:
            state, held = self._state, self._loaded
            name, vae = wish.name or state.name, wish.vae or state.vae
            chosen = (name, vae) == (state.name, state.vae)
            if chosen and held and held.model is state.model:
                return held.model
            checkpoint = self._find(name or None, vae)
            if chosen and state.unloaded:
                self._set(state.name, None)
        del state, held  # they would keep the weights on the device
        model, problem = None, None
        try:
            model = self._bring(checkpoint)
        except AppError as error:
            problem = str(error)
            raise
        finally:
            with self._changed:
                still = chosen and (self._state.name, self._state.vae) == (name, vae)
                if still and (problem or model is not self._state.model):
                    self._set(checkpoint.name, model, problem)
        return model

    def settle(self) -> None:
        """Start to load the chosen checkpoint again if another one has taken its place."""
        with self._changed:
            name = self._state.name
            if not (name and self._state.loading):
                return
            try:
                self._start_loading(self._find(name, self._state.vae))
            except AppError as error:
                self._set(name, None, str(error))

    def _load(self, checkpoint: Checkpoint, wish: int) -> None:
        model, problem = None, None
        try:
            with self._gate.hold(f"loading {checkpoint.name}"):
                if wish != self._wanted:  # another one has been asked for meanwhile
                    return
                model = self._bring(checkpoint)
        except AppError as error:
            problem = str(error)
        except Exception:
            log.exception("Loading %s failed.", checkpoint.path)
            problem = f"The model {checkpoint.name} could not be loaded; the log says more."
        if problem:
            log.error("%s", problem)
        with self._changed:
            if wish == self._wanted:
                self._set(checkpoint.name, model, problem)

    def _bring(self, checkpoint: Checkpoint) -> Model:
        """Return a checkpoint on the device: out of memory if its files are as they were.

        The gate is held. What was loaded leaves the device before the other one comes; whoever
        still uses it, such as a training run, has it to itself.
        """
        files = fingerprint(checkpoint)
        leaving, self._loaded = self._loaded, None
        spare, self._spare = self._spare, None
        coming = next(
            (
                held
                for held in (leaving, spare)
                if held and (held.checkpoint, held.files) == (checkpoint, files)
            ),
            None,
        )
        if coming is not None and coming is leaving:
            self._loaded, self._spare = leaving, spare
            return coming.model
        device = choose_device(self._device)
        size_bytes = sum(size for _, size, _ in files)
        if leaving is None and coming is None:  # the last one could not be loaded
            self._spare = spare
        del spare
        if leaving is not None:
            self._spare = self._kept(leaving, 0 if coming else GROWS * size_bytes)
        del leaving
        self._let_go()
        release(device)
        if coming is not None:
            log.info("The model %s was still in memory.", checkpoint.name)
            model = on_device(coming.model, device)
        else:
            cache = self._hash_cache.with_name(PROCESSOR_CACHE)
            dtype = choose_dtype(device, self._precision, size_bytes, cache)
            model = load(
                checkpoint,
                device,
                dtype,
                hash_cache=self._hash_cache,
                offload=self._offload,
                report=lambda share: self._report(checkpoint.name, share),
            )
        if self._compiled:
            model = self._to_compile(model)
        self._loaded = _Held(checkpoint, files, model)
        return model

    def _to_compile(self, model: Model) -> Model:
        """Let a model's UNet be compiled when it is first used."""
        if model.offloading:
            log.info("With --offload the model is not compiled, since its weights come and go.")
            return model
        return replace(model, compiled=Compiled(model.unet, changed=self._say_compiling))

    def _say_compiling(self, compiling: bool) -> None:
        with self._changed:
            state = self._state
            self._state = replace(state, version=state.version + 1, compiling=compiling)

    def _report(self, name: str, share: float) -> None:
        """Say how much of a model's weights has been read, if it is the one that is awaited."""
        percent = int(100 * share)
        with self._changed:
            state = self._state
            if state.loading and state.name == name and state.percent != percent:
                self._state = replace(state, version=state.version + 1, percent=percent)

    def _let_go(self) -> None:
        """Count the chosen model as not loaded if it is not kept as it was."""
        with self._changed:
            model = self._state.model
            if model is not None and not (self._spare and self._spare.model is model):
                self._set(self._state.name, None)

    def _kept(self, held: _Held, needed_bytes: int) -> _Held | None:
        """Return a model in main memory, if enough of it stays free while the next one loads."""
        free_bytes = psutil.virtual_memory().available - room_bytes(held.model) - needed_bytes
        if free_bytes < self._stays_free_bytes:
            return None
        return replace(held, model=offload_to_cpu(held.model))

    def _set(
        self, name: str, model: Model | None, problem: str | None = None, vae: str | None = None
    ) -> None:
        version = self._state.version + 1
        self._state = ModelState(version, name, model, problem, vae or self._state.vae)
        self._changed.notify_all()
