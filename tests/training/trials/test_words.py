"""Words are tried on the images, within the time there is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from webui.models.model import Model
from webui.settings import Settings
from webui.training.dataset import read_pictures
from webui.training.recipe import Recipe
from webui.training.trials import words
from webui.training.trials.latents import LatentCache
from webui.training.trials.words import THINGS, Trial, suggest


@pytest.fixture
def tried(picture_files: Callable, model: Model) -> Callable[..., list[Trial]]:
    pictures, cache = read_pictures(picture_files(3)), LatentCache()

    def run(patience_s: float = 600.0, kind: str = "object") -> list[Trial]:
        recipe = Recipe(kind=kind, mixed_precision="fp32")
        return list(suggest(model, recipe, pictures, cache, lambda who: nullcontext(), patience_s))

    return run


def test_the_five_words_with_the_least_error_are_offered_the_same_each_time(
    tried: Callable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(words, "ROUNDS", ((1, 9), (2, 6)))
    first, again = tried(kind="style"), tried(kind="style")
    assert first == again
    *going, last = first
    assert [trial.done for trial in going] == sorted({trial.done for trial in going})
    assert going[-1].done == last.total and not any(trial.best for trial in going)
    assert len({found.word for found in last.best}) == 5 and last.tried == len(words.MANNERS)
    errors = [found.error for found in last.best]
    assert errors == sorted(errors)
    gains = [found.gain for found in last.best]
    assert gains == sorted(gains, reverse=True)


def test_when_time_is_up_the_best_so_far_are_offered(tried: Callable):
    (last,) = tried(patience_s=0.0)
    assert last.tried == words.BATCH - 1 < len(THINGS) and len(last.best) == 5


@pytest.mark.slow
def test_the_starter_model_knows_what_its_own_pictures_show(tmp_path: Path):
    from starter.concepts import OBJECTS, training_pictures
    from tests.training.picture_parts import as_picture
    from webui.studio.studio import Studio

    studio = Studio(Settings(embeddings_dirs=(tmp_path / "e",), outputs_dir=tmp_path / "o"))
    studio.models.switch(None)
    starter = studio.models.get()
    found = {}
    for concept in OBJECTS:
        shown = [
            as_picture(image, f"{n}") for n, (image, _) in enumerate(training_pictures(concept))
        ]
        trials = suggest(starter, Recipe(), shown, LatentCache(), lambda who: nullcontext(), 600.0)
        found[concept.initializer] = [each.word for each in list(trials)[-1].best]
    assert sum(word in best for word, best in found.items()) >= 5, found


def test_words_that_say_nothing_to_a_model_are_no_start():
    """It does not know them apart; of two or three that it takes for each other one is offered."""
    unknown = dict.fromkeys("abcd", [0.1])
    alike = {"star": [0.2], "sun": [0.2]}
    assert words._distinct(unknown | alike, [*unknown, *alike]) == ["star"]
