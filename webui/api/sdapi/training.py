"""Training over the API: A1111's blocking request, the same without waiting, and watching a run."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field, create_model

from webui.api.sdapi.answers import PREFIX, REFUSED, NotFound, Question, Shape, waited
from webui.archives import ENDING, as_folder
from webui.errors import AppError, BadField
from webui.images import as_files, to_bytes
from webui.job_state import JobState
from webui.settings import LOCAL_HOSTS
from webui.studio.studio import Studio
from webui.training.captions import read_templates
from webui.training.dataset import MAXIMUM, MINIMUM, TAKEN, count_problem, find_pictures
from webui.training.learned.concepts import names_in
from webui.training.presets import preset
from webui.training.recipe import SETTINGS, Recipe, Setting
from webui.training.request import TrainingRequest
from webui.training.runs.run_state import RunSnapshot

TEMPLATES = {
    "style.txt": ("style", "templates"),
    "style_filewords.txt": ("style", "filewords"),
    "subject.txt": ("object", "templates"),
    "subject_filewords.txt": ("object", "filewords"),
}
"""A1111's files of templates where they are not there: what is learned, and how it is captioned."""


class TrainBody(Question):
    """What is trained on what. A setting that is left out is the preset's."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "embedding_name": "my-mug",
                    "init_text": "mug",
                    "pictures": ["iVBORw0KGgo…", "iVBORw0KGgo…", "iVBORw0KGgo…"],
                    "preset": "object",
                    "wait": False,
                }
            ]
        },
    )

    embedding_name: str
    """Its file is replaced when the run ends; without one, init_text is needed. Several names, with
    commas between them, are learned at once: ``data_root`` has a folder for each."""
    data_root: str | None = None
    """A folder of pictures on the server, or a zip of one."""
    pictures: list[str] | None = None
    """The pictures themselves in base64, in place of data_root."""
    archive: str | None = None
    """A zip of the pictures in base64, in place of data_root."""
    captions: list[str] | None = None
    """A caption for each of ``pictures``."""
    init_text: str | None = None
    """The words that learning starts from; those of create/embedding if left out. Of several names
    one for each, with commas, or one for all."""
    preset: str | None = None
    """object, pivotal, style, person, negative, draft, classic or low_vram; classic if a learn_rate
    is given, else object."""
    wait: bool = True
    """False answers at once with the run's id."""
    training_width: int | None = None
    """A1111's name of ``resolution``."""
    training_height: int | None = None
    """The same as training_width, if given."""
    template_filename: str | None = None
    """A file of the folder textual_inversion_templates; or style.txt, style_filewords.txt,
    subject.txt or subject_filewords.txt, which are there without it."""
    clip_grad_mode: str | None = None
    """disabled, or norm for ``max_grad_norm``."""
    clip_grad_value: float | str | None = None
    """A1111's name of ``max_grad_norm``, for the mode norm."""
    preview_prompt: str | None = None
    """One prompt in place of ``preview_prompts``."""
    id_task: str | None = None
    log_directory: str | None = None
    latent_sampling_method: str | None = None
    save_image_with_stored_embedding: bool | None = None
    preview_from_txt2img: bool | None = None
    preview_negative_prompt: str | None = None
    preview_steps: int | None = None
    preview_sampler_name: str | None = None
    preview_sampler_index: str | int | None = None
    preview_cfg_scale: float | None = None
    preview_seed: int | None = None
    preview_width: int | None = None
    preview_height: int | None = None

    def given(self) -> dict[str, Any]:
        """Return the recipe's settings that are given by their own meaning."""
        known = {name: getattr(self, name) for name in SETTINGS}
        return {name: value for name, value in known.items() if value is not None}


def _field_of(setting: Setting) -> tuple[Any, Any]:
    """Return a setting of the recipe as a field that may be left out, by both of its names."""
    kind = float | str if setting.before else setting.type  # a learning rate may be a schedule
    known: dict[str, Any] | None = None
    if setting.choices:
        known = {"enum": [*setting.choices, None]}
    said = f"{setting.help} {setting.limits.capitalize()}".strip()
    field = Field(None, alias=setting.api or None, description=said, json_schema_extra=known)
    return kind | None, field


if TYPE_CHECKING:
    TrainRequest = TrainBody
else:
    TrainRequest = create_model(
        "TrainRequest",
        __base__=TrainBody,
        __doc__=TrainBody.__doc__,
        **{name: _field_of(setting) for name, setting in SETTINGS.items()},
    )


class SuggestRequest(Question):
    """Which images words are tried on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"data_root": "/home/me/pictures/mug", "kind": "object"}]},
    )

    data_root: str | None = None
    """A folder of pictures on the server, or a zip of one."""
    pictures: list[str] | None = None
    """The pictures themselves in base64, in place of data_root."""
    archive: str | None = None
    """A zip of the pictures in base64, in place of data_root."""
    embedding_name: str = ""
    """Several names, with commas between them, each have words of their own."""
    kind: str = Field("object", json_schema_extra={"enum": list(SETTINGS["kind"].choices or ())})
    """What is to be learned."""


class WordItem(Shape):
    """A word that the images could be learned from."""

    name: str = ""
    """Which of several names it is for."""
    word: str = Field(examples=["mug"])
    error: float
    """Mean error on fixed inputs of the images, with the word in their captions."""
    gain: float
    """How much smaller that is than with no word."""


class LearnedItem(Shape):
    """One name of a run, and what came of it."""

    name: str
    filename: str | None
    step: int | None
    """Whose vectors are in the file."""
    gain: float | None
    verdict: str | None
    advice: str | None


class RunItem(Shape):
    """A training run as it stands."""

    run_id: str
    name: str
    state: JobState = Field(examples=["training"])
    step: int
    steps: int
    progress: float
    """0 to 1."""
    eta_s: float | None
    """Seconds left, while it trains."""
    loss: float | None
    """Mean error on fixed inputs at the last evaluation."""
    gain: float | None
    """How much better than the initializer it is on the same inputs."""
    learning_rate: float | None
    """Of the last step."""
    norm_ratio: float | None
    """Mean length of the vectors as a multiple of an ordinary word's."""
    recipe: dict[str, Any]
    """Every setting of the run, by the recipe's names."""
    data: list[str]
    """Names of the images it learns from."""
    log: list[str]
    """What happened beside the steps, the newest last."""
    message: str
    problem: str | None
    filename: str | None
    """The embedding file it led to; of several names the first."""
    verdict: str | None
    advice: str | None
    embeddings: list[LearnedItem]
    """What came of each of its names."""
    lora_filename: str | None
    """The LoRA file it led to, if it learned one."""


class Trained(Shape):
    """What came of a request to train."""

    info: str = Field(examples=["train embedding complete: filename: … error: None"])
    run: RunItem
    skipped: list[str] = []
    """Files of data_root that are no pictures; nothing was learned from them."""


class TrainingApi:
    """Starts runs, and knows which of them a client is waiting for."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._waited_for: set[str] = set()

    def start(self, body: TrainRequest) -> str:
        """Queue a run and return its id; BadField with the body's name of the field."""
        with self._pictures(body) as pictures:
            try:
                return self._studio.training.start(self._request(body, pictures))
            except BadField as error:
                raise BadField(THEIRS.get(error.field, error.field), str(error)) from error

    def skipped(self, body: TrainRequest) -> list[str]:
        """Return the names of the files in the body's folder that are no pictures."""
        if body.pictures is not None:
            return []
        with self._folder(body) as folder:
            return [path.name for path in find_pictures(folder, names_in(body.embedding_name))[1]]

    async def wait_for(self, run_id: str) -> RunSnapshot:
        """Return the run once it has ended; it goes on if the client goes away."""
        self._waited_for.add(run_id)
        try:
            return await waited(lambda: self._studio.training.wait(run_id))
        finally:
            self._waited_for.discard(run_id)

    def interrupt(self) -> None:
        """End the runs that clients wait for; what they have learned is kept."""
        for run_id in list(self._waited_for):
            self.stop(run_id)

    def stop(self, run_id: str) -> None:
        """End a run and keep what it has learned."""
        self._studio.training.stop(run_id, keep=self.view(run_id).step > 0)

    def view(self, run_id: str) -> RunSnapshot:
        """Return how a run stands; NotFound if there is none of this id."""
        try:
            return self._studio.training.view(run_id)
        except AppError as error:
            raise NotFound(str(error)) from error

    def suggest(self, body: SuggestRequest) -> list[WordItem]:
        """Return the best words for pictures, after seconds."""
        recipe, names = Recipe(kind=body.kind), names_in(body.embedding_name)
        with self._pictures(body) as pictures:
            trials = list(self._studio.training.trials.suggest(recipe, pictures, names))
        return [
            WordItem(**asdict(each), name=trial.name) for trial in trials for each in trial.best
        ]

    @contextmanager
    def _pictures(self, body: TrainBody | SuggestRequest) -> Iterator[tuple[Path, ...]]:
        """Yield the files of the pictures, those of the body with their captions beside them."""
        if [body.pictures, body.data_root, body.archive].count(None) != 2:
            raise BadField(
                "data_root", "Give either “data_root”, a folder, or “pictures”, or “archive”."
            )
        if body.pictures is None:
            with self._folder(body) as folder:
                yield tuple(find_pictures(folder, names_in(body.embedding_name))[0])
            return
        captions = (isinstance(body, TrainBody) and body.captions) or []
        if captions and len(captions) != len(body.pictures):
            raise BadField("captions", "Give as many captions as images.")
        if not MINIMUM <= len(body.pictures) <= MAXIMUM:
            raise BadField("pictures", count_problem(len(body.pictures)))
        with as_files(body.pictures, "pictures") as paths:
            for path, text in zip(paths, captions, strict=False):
                path.with_suffix(".txt").write_text(text, encoding="utf-8")
            yield tuple(paths)

    @contextmanager
    def _folder(self, body: TrainBody | SuggestRequest) -> Iterator[Path]:
        """Yield the folder of a body's pictures: one on the server, or what is in a zip.

        While the network is served, only places below the outputs may be named: a run copies its
        pictures there, where they can be seen.
        """
        if body.archive is not None:
            with tempfile.TemporaryDirectory() as temporary:
                archive = Path(temporary) / f"archive{ENDING}"
                archive.write_bytes(to_bytes(body.archive, "archive"))
                with _told("archive"), as_folder(archive, TAKEN) as folder:
                    yield folder
            return
        name, settings = body.data_root or "", self._studio.settings
        with _told("data_root"):
            try:
                place = Path(name).resolve()
                there = place.exists()
            except (OSError, ValueError):
                there = False
            if settings.host not in LOCAL_HOSTS and not (
                there and place.is_relative_to(settings.outputs_dir.resolve())
            ):
                raise AppError(
                    "While the network is served, “data_root” must lie in the folder of the "
                    "outputs. Send the images themselves as “pictures” or “archive”."
                )
            if not there:
                raise AppError(f"There is no folder {name[:300]} to be read.")
            with as_folder(place, TAKEN) as folder:
                yield folder

    def _request(self, body: TrainRequest, pictures: tuple[Path, ...]) -> TrainingRequest:
        card = self._studio.library.card(body.embedding_name)
        initializer = body.init_text or ""
        if card is not None and not initializer:
            initializer = self._studio.library.metadata(card.name).get("initializer", "")
        if not initializer:
            raise BadField(
                "init_text" if card else "embedding_name",
                "Say with “init_text” which words come closest: learning starts from there."
                if card
                else f"There is no embedding “{body.embedding_name[:100]}”. Make it with "
                "create/embedding, or give “init_text”.",
            )
        model = self._studio.models.get()
        return TrainingRequest(
            name=card.name if card else body.embedding_name,
            pictures=pictures,
            initializer=initializer,
            recipe=recipe_of(
                body,
                model.family,
                card.vectors if card else 0,
                self._studio.settings.templates_dir,
            ),
            overwrite=card is not None,
        )


@contextmanager
def _told(field: str) -> Iterator[None]:
    """Tell what goes wrong inside the ``with`` block under a field's name."""
    try:
        yield
    except BadField:
        raise
    except AppError as error:
        raise BadField(field, str(error)) from error


THEIRS = {
    "name": "embedding_name",
    "initializer": "init_text",
    "preview_prompts": "preview_prompt",
    "resolution": "training_width",
    "max_grad_norm": "clip_grad_value",
    "caption_mode": "template_filename",
    **{name: setting.api for name, setting in SETTINGS.items() if setting.api},
}
"""A1111's names of a run's fields and a recipe's settings, where it has one."""


def recipe_of(body: TrainRequest, family: str, vectors: int, templates_dir: Path) -> Recipe:
    """Return the recipe of a body; ``vectors`` are those of the embedding there is, or 0.

    Raises BadField for what cannot be honoured, under the recipe's names.
    """
    given = body.given()
    usual = preset(body.preset or ("classic" if "learning_rate" in given else "object"), family)
    if given.get("evaluate_every") == 0:
        del given["evaluate_every"]  # A1111's word for never; each evaluation is a measure here
    theirs: dict[str, Any] = {
        "vectors": vectors or None,
        "resolution": _side(body),
        "max_grad_norm": _clip(body),
        "preview_prompts": _preview_prompts(body),
        **_captions(body, templates_dir),
    }
    if given.get("vectors") == 0:
        del given["vectors"]
    return replace(
        usual, **{key: value for key, value in (theirs | given).items() if value is not None}
    )


def _side(body: TrainRequest) -> int | None:
    width, height = body.training_width, body.training_height
    if width != height and None not in (width, height):
        raise BadField(
            "training_height",
            "Training images have the area of a square: give width = height, and varsize for "
            "images that keep their shape.",
        )
    return width or height


def _clip(body: TrainRequest) -> float | None:
    mode = body.clip_grad_mode or "disabled"
    if mode not in ("disabled", "norm"):
        raise BadField("clip_grad_mode", "“clip_grad_mode” must be disabled or norm.")
    if mode == "disabled":
        return None
    try:
        return float(body.clip_grad_value or 0.1)
    except ValueError:
        raise BadField("clip_grad_value", "“clip_grad_value” must be a number.") from None


def _captions(body: TrainRequest, templates_dir: Path) -> dict[str, Any]:
    """Return what is learned and how captions are made, as far as the body says it.

    A file of templates of the name is read where it is there; else the names of A1111's own
    files mean our sentences.
    """
    name = body.template_filename
    if name is None:
        return {"caption_mode": "filewords"} if body.captions else {}
    files = {path.name: path for path in sorted(templates_dir.glob("*.txt"))}
    kind, mode = TEMPLATES.get(name, ("style" if name.startswith("style") else "object", None))
    if name in files:
        return {"kind": kind, "caption_mode": "templates", "templates": read_templates(files[name])}
    if mode is None:
        known = ", ".join(sorted({*TEMPLATES, *files}))
        raise BadField("template_filename", f"Choose one of: {known}.")
    return {"kind": kind, "caption_mode": mode}


def _preview_prompts(body: TrainRequest) -> tuple[str, ...] | None:
    if not body.preview_prompt:
        return None
    return (body.preview_prompt.replace(body.embedding_name, "[name]"),)


def item_of(view: RunSnapshot) -> RunItem:
    """Return a run as the API tells it."""
    return RunItem(
        run_id=view.run_id,
        name=view.name,
        state=view.state,
        step=view.step,
        steps=view.steps,
        progress=view.step / view.steps,
        eta_s=view.eta_s,
        loss=view.losses[-1][1] if view.losses else None,
        gain=view.gains[-1][1] if view.gains else None,
        learning_rate=view.rate,
        norm_ratio=view.norm_ratio,
        recipe=view.record.recipe.to_dict(),
        data=[name for name, _ in view.record.data],
        log=list(view.log),
        message=view.message,
        problem=view.problem,
        filename=str(view.file) if view.file else None,
        verdict=view.report.verdict if view.report else None,
        advice=view.report.advice if view.report else None,
        embeddings=_learned(view),
        lora_filename=view.lora.path if view.lora else None,
    )


def _learned(view: RunSnapshot) -> list[LearnedItem]:
    files = {each.name: each for each in view.installed}
    names = view.record.names
    reports = dict(zip(names, view.report.each, strict=True)) if view.report else {}
    return [
        LearnedItem(
            name=name,
            filename=files[name].path if name in files else None,
            step=files[name].step if name in files else None,
            gain=reports[name].score.gain if name in reports else None,
            verdict=reports[name].verdict if name in reports else None,
            advice=reports[name].advice if name in reports else None,
        )
        for name in names
    ]


def add(router: APIRouter, trained: TrainingApi) -> None:
    """Add the routes."""

    @router.post("/train/embedding", responses=REFUSED, summary="Train an embedding")
    async def train_embedding(body: TrainRequest) -> Trained:
        run_id = await asyncio.to_thread(trained.start, body)
        skipped = await asyncio.to_thread(trained.skipped, body)
        if not body.wait:
            view = trained.view(run_id)
            place = f"{PREFIX}/train/embedding/{run_id}"
            info = f"train embedding started: watch {place}"
            return Trained(info=info, run=item_of(view), skipped=skipped)
        view = await trained.wait_for(run_id)
        if view.state is JobState.FAILED:
            raise AppError(view.problem or "The training failed.")
        info = f"train embedding complete: filename: {view.file} error: None"
        return Trained(info=info, run=item_of(view), skipped=skipped)

    @router.post(
        "/train/suggest", responses=REFUSED, summary="Find words that training could start from"
    )
    def suggest(body: SuggestRequest) -> list[WordItem]:
        return trained.suggest(body)

    @router.get("/train/embedding/{run_id}", summary="Tell how a training run stands")
    def run(run_id: str) -> RunItem:
        return item_of(trained.view(run_id))

    @router.post(
        "/train/embedding/{run_id}/interrupt", summary="End a run; what it has learned is kept"
    )
    def interrupt(run_id: str) -> RunItem:
        trained.stop(run_id)
        return item_of(trained.view(run_id))
