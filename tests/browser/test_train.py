"""The Train tab in a browser: moving crops, a run that was killed, and the steps it kept."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from starter.concepts import OBJECTS, training_pictures
from tests.browser.conftest import ROOT, App
from tests.parts import wait_until
from webui.training.runs.run_folder import Run

PLACES = ("progress", "plot", "scrubber", "previews")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def pictures(folder: Path, count: int = 5) -> list[Path]:
    """Write pictures of the toadstool, twice as wide as high."""
    toadstool = next(concept for concept in OBJECTS if concept.name == "toadstool")
    paths = []
    for number, (image, _) in enumerate(training_pictures(toadstool)[:count]):
        wide = Image.new("RGB", (2 * image.width, image.height), (40, 90, 160))
        wide.paste(image, (image.width // 2, 0))
        paths.append(folder / f"{number}.png")
        wide.save(paths[-1])
    return paths


def open_train(browser: Browser, app: App) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 1400}).new_page()
    page.set_default_timeout(90_000)
    page.goto(app.url)
    expect(page.locator("#model-state")).to_contain_text("hash", timeout=600_000)
    page.get_by_role("tab", name="Train").click()
    return page


def number(page: Page, elem_id: str, value: int) -> None:
    box = page.locator(f"#{elem_id} input[type=number]")
    box.fill(str(value))
    box.press("Tab")


def first_crop(page: Page) -> Locator:
    return page.locator("#train-shown [role=slider]").first


def test_a_run_that_was_killed_goes_on_and_its_steps_can_be_looked_through(
    start_app: Callable[..., App], chromium: Browser, tmp_path: Path
):
    app = start_app(folder=tmp_path)
    page = open_train(chromium, app)
    page.locator("#train-pictures input[type=file]").set_input_files(pictures(tmp_path))
    expect(page.locator("#train-shown img")).to_have_count(5)

    # The square of the first picture is dragged to its left end, where there is no toadstool.
    crop = first_crop(page)
    usual = crop.get_attribute("aria-valuenow")
    box = crop.bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] - 300, box["y"] + 10, steps=3)
    page.mouse.up()
    expect(crop).to_have_attribute("aria-valuenow", "0")
    page.get_by_role("button", name=re.compile("^Crop .* automatically")).click()
    expect(crop).to_have_attribute("aria-valuenow", usual)

    # The pictures may keep about their shape, with a place of their own along the side that is cut.
    page.locator("#train-settings").get_by_text("Settings").click()
    page.locator("#train-buckets input").check()
    page.wait_for_function(
        "() => { const f = document.querySelector('#train-shown .crop-frame');"
        " return f && f.clientWidth > 1.5 * f.clientHeight }"
    )
    crop = first_crop(page)
    crop.press("Home")
    for _ in range(15):
        crop.press("ArrowRight")
    expect(crop).to_have_attribute("aria-valuenow", "30")

    page.locator("#train-name input").fill("my_toadstool")
    page.locator("#train-initializer input").fill("mushroom")
    number(page, "train-steps", 60)
    page.locator("#train-start").click()
    expect(page.locator("#train-progress")).to_contain_text(
        re.compile(r"Training, step (2[6-9]|[34]\d) of 60"), timeout=360_000
    )
    # Its kept steps can be looked through already, between the curve and the previews.
    expect(page.locator("#train-scrubber")).to_be_visible()
    number(page, "train-step", 0)
    expect(page.locator("#train-step-facts")).to_contain_text("0 of 60")
    tops = [page.locator(f"#train-{name}").bounding_box()["y"] for name in PLACES]
    assert tops == sorted(tops)
    page.screenshot(path=tmp_path / "training.png", full_page=True)
    app.process.send_signal(signal.SIGKILL)
    app.process.wait()
    page.context.close()

    # The next start offers it; it goes on where it was saved, and ends.
    app = start_app(folder=tmp_path)
    page = open_train(chromium, app)
    expect(page.locator("#train-progress")).to_contain_text("The app was closed during this run")
    page.locator("#train-resume").click()
    expect(page.locator("#train-progress")).to_contain_text("Finished", timeout=540_000)
    assert (app.embeddings / "my_toadstool.safetensors").is_file()
    (run,) = (app.outputs / "train").iterdir()
    events = (run / "events.jsonl").read_text()
    assert '"resumed"' in events
    record = (run / "run.json").read_text()
    assert '"crop_positions": [\n' in record and "0.3" in record and '"buckets": true' in record

    # A slider over the kept steps shows each beside the initializer, and any can be the file.
    expect(page.locator("#train-scrubber")).to_be_visible()
    expect(page.locator("#train-beside img").first).to_be_visible()
    number(page, "train-step", 25)
    expect(page.locator("#train-step-facts")).to_contain_text("25 of 60")
    page.locator("#train-install").click()
    expect(page.locator("#train-progress")).to_contain_text("Step 25 is installed")
    expect(page.locator("#train-step-answer")).to_contain_text("holds step 25 now")
    page.locator("#train-look").click()
    expect(page.locator("#train-strength-row img")).to_have_count(4, timeout=600_000)
    expect(page.locator("#train-beside")).to_contain_text("step 25")
    expect(page.locator("#train-install")).to_be_disabled()
    expect(page.locator("#train-report")).to_contain_text("step 25, which was chosen afterwards")
    page.screenshot(path=tmp_path / "train.png", full_page=True)

    # The run stays in view beside the form, and the new word is one click from an image.
    page.set_viewport_size({"width": 1440, "height": 600})
    page.locator("#train-start").scroll_into_view_if_needed()
    assert page.locator("#train-run").bounding_box()["y"] >= 0
    page.locator("#train-try").click()
    expect(page.locator("#generate")).to_be_visible()
    expect(page.locator("#prompt textarea")).to_have_value("a photo of my_toadstool")
    page.context.close()


def test_captions_among_the_uploads_advanced_settings_and_a_folder_of_this_machine(
    start_app: Callable[..., App], chromium: Browser, tmp_path: Path
):
    app = start_app(folder=tmp_path)
    page = open_train(chromium, app)
    paths = pictures(tmp_path, 3)
    ready = page.locator("#train-ready")
    expect(ready).to_contain_text("Still missing: at least 3 images, a name, an initializer.")
    expect(page.locator("#train-run")).to_contain_text("Your run appears here")
    texts = [path.with_suffix(".txt") for path in paths]
    for path in texts:
        path.write_text("my_toadstool on grass")
    zipped, damaged = tmp_path / "mine.zip", tmp_path / "damaged.zip"
    with ZipFile(zipped, "w") as archive:
        for path in (*paths[:2], *texts[:2]):
            archive.write(path, f"from a friend/{path.name}")
    damaged.write_bytes(zipped.read_bytes()[:-40])
    uploads = page.locator("#train-pictures input[type=file]")
    uploads.set_input_files(damaged)
    expect(page.locator("body")).to_contain_text("damaged.zip is no zip file, or it is damaged.")
    page.locator("#train-pictures").get_by_label("Clear").click()
    uploads.set_input_files([zipped, paths[2], texts[2]])
    expect(page.locator("#train-shown img")).to_have_count(3)
    expect(ready).to_contain_text("Still missing: a name, an initializer.")

    # A name that cannot be used is told of at once, with one that can; so is what has no meaning.
    page.locator("#train-name input").fill("my toadstool")
    page.locator("#train-initializer input").fill("xyzzy")
    expect(page.locator("#train-name-said")).to_contain_text("letters, digits, hyphens")
    expect(ready).to_contain_text("Still missing: a name.")
    page.locator("#train-use-name").click()
    expect(page.locator("#train-name input")).to_have_value("my-toadstool")
    expect(page.locator("#train-initializer-said")).to_contain_text("does not know it")

    # Words are tried on the images; a click takes one over.
    page.locator("#train-suggest").click()
    words = page.locator("#train-suggested label:has(input)")
    expect(words.first).to_be_visible(timeout=120_000)
    expect(page.locator("#train-suggest-said")).to_contain_text("these leave the least error")
    words.first.click()
    word = words.first.inner_text().split()[0]
    expect(page.locator("#train-initializer input")).to_have_value(word)
    page.locator("#train-name input").fill("my_toadstool")
    page.locator("#train-initializer input").fill("mushroom")
    expect(ready).to_contain_text("Ready: 3 images of “my_toadstool”.")
    page.locator("#train-settings").get_by_text("Settings").click()
    page.locator("#train-caption-mode input").click()
    page.get_by_role("option", name="only the .txt files").click()
    advice = page.locator("#train-advice")
    expect(advice).to_contain_text("my_toadstool on grass · my_toadstool on grass")
    expect(advice).to_contain_text("Of 3 images none can be held out")

    # What is under Advanced is what the run is asked to do.
    number(page, "train-steps", 2)
    page.locator("#train-advanced").get_by_text("Advanced").click()
    number(page, "train-warmup-steps", 0)
    number(page, "train-preview-every", 0)
    templates = tmp_path / "mine.txt"
    templates.write_text("a drawing of [name]\na [name]\n")
    with page.expect_file_chooser() as chooser:
        page.locator("#train-load-templates").click()
    chooser.value.set_files(templates)
    expect(page.locator("#train-templates textarea")).to_have_value("a drawing of [name]\na [name]")
    page.locator("#train-start").click()
    expect(page.locator("#train-progress")).to_contain_text("Finished", timeout=540_000)
    (run,) = (app.outputs / "train").iterdir()
    recipe = Run(run).record().recipe
    assert (recipe.caption_mode, recipe.warmup_steps, recipe.steps) == ("files", 0, 2)
    assert recipe.templates == ("a drawing of [name]", "a [name]")
    assert (run / "data" / "01-0.txt").read_text() == "my_toadstool on grass"
    page.locator("#train-details").get_by_text("Details of this run").click()
    details = page.locator("#train-details-text")
    for text in ("Learning rate", "Vector length vs. ordinary words", "01-0.png", "Step 2: gain"):
        expect(details).to_contain_text(text)

    # What was typed is there after a reload. A folder of this machine takes the place of uploads.
    page.reload()
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-name input")).to_have_value("my_toadstool")
    expect(page.locator("#train-initializer input")).to_have_value("mushroom")
    page.locator("#train-folder input").fill(str(run / "data"))
    page.locator("#train-folder input").press("Tab")
    expect(page.locator("#train-shown img")).to_have_count(3)
    page.context.close()


def train(page: Page, folder: Path, name: str, steps: int) -> None:
    """Start a run from the form, with three pictures that stay in it."""
    if not page.locator("#train-shown img").count():
        page.locator("#train-pictures input[type=file]").set_input_files(pictures(folder, 3))
        expect(page.locator("#train-shown img")).to_have_count(3)
    page.locator("#train-name input").fill(name)
    page.locator("#train-initializer input").fill("mushroom")
    if not page.locator("#train-steps").is_visible():
        page.locator("#train-settings").get_by_text("Settings").click()
    number(page, "train-steps", steps)
    page.locator("#train-start").click()


def test_after_a_kill_every_run_can_be_opened_resumed_installed_and_deleted(
    start_app: Callable[..., App], chromium: Browser, tmp_path: Path
):
    app = start_app(folder=tmp_path)
    page = open_train(chromium, app)
    train(page, tmp_path, "first_thing", 60)
    bar = page.locator("#train-progress")
    expect(bar).to_contain_text(re.compile(r"step ([3-9]|\d\d) of 60"), timeout=540_000)
    # What the preflight has to say of three pictures stands beside the form.
    expect(page.locator("#train-advice")).to_contain_text("none can be held out")

    # Paused by its button, it makes room for the next one, which is killed in the middle.
    page.locator("#train-pause").click()
    expect(bar).to_contain_text("Paused. Press Resume.", timeout=600_000)
    train(page, tmp_path, "second_thing", 60)
    expect(bar).to_contain_text(re.compile(r"second_thing: Training, step [1-9]"), timeout=540_000)
    train(page, tmp_path, "third_thing", 2)
    page.locator("#train-runs > button").click()
    rows = page.locator("#train-runs-list .run")
    expect(rows).to_have_count(3)
    third = rows.filter(has_text="third_thing")
    expect(third).to_contain_text("Queued, turn 1 of 1")
    app.process.send_signal(signal.SIGKILL)
    app.process.wait()
    page.context.close()

    app = start_app(folder=tmp_path)
    page = open_train(chromium, app)
    bar, rows = page.locator("#train-progress"), page.locator("#train-runs-list .run")
    page.locator("#train-runs > button").click()
    expect(rows).to_have_count(3)
    first, third = (rows.filter(has_text=f"{name}_thing") for name in ("first", "third"))
    expect(first).to_contain_text("Paused · step")
    expect(first.locator("img")).to_be_visible()
    expect(bar).to_contain_text("third_thing: Paused")
    first.locator(".run-open").click()
    expect(bar).to_contain_text("first_thing: Paused")
    first.get_by_role("button", name="Install").click()
    expect(page.locator("#train-runs-answer")).to_contain_text("first_thing.safetensors")
    assert (app.embeddings / "first_thing.safetensors").is_file()

    first.get_by_role("button", name="Delete").click()
    expect(rows).to_have_count(2)
    expect(bar).not_to_contain_text("first_thing")
    page.locator("#train-runs-undo").click()
    expect(rows).to_have_count(3)
    expect(bar).to_contain_text("first_thing: Paused")

    third.get_by_role("button", name="Resume").click()
    expect(bar).to_contain_text("third_thing: Finished", timeout=540_000)
    page.screenshot(path=tmp_path / "runs.png", full_page=True)
    page.context.close()


QUICK = (("train-steps", 2), ("train-preview-every", 0), ("train-evaluation-tuples", 4))
STRONG = (
    *QUICK, ("train-steps", 12), ("train-lora-rank", 8), ("train-lora-learning-rate", 0.01),
)  # fmt: skip


def test_two_names_with_masks_and_a_lora_and_then_noise_from_one_of_them(
    start_app: Callable[..., App], chromium: Browser, tmp_path: Path
):
    mine, models = tmp_path / "models", str(ROOT / "models")
    app = start_app("--models-dir", str(mine), "--models-dir", models, folder=tmp_path)
    page = open_train(chromium, app)
    files = []
    for name, concept in (("my_toadstool", "toadstool"), ("my_star", "chess-star")):
        thing = next(each for each in OBJECTS if each.name == concept)
        for index, (image, _) in enumerate(training_pictures(thing)[:3]):
            files.append(tmp_path / f"{name} {index}.png")
            image.save(files[-1])
    page.locator("#train-pictures input[type=file]").set_input_files(files)
    expect(page.locator("#train-shown img")).to_have_count(6)
    page.locator("#train-name input").fill("my_toadstool, my_star")
    page.locator("#train-initializer input").fill("mushroom")
    page.locator("#train-suggest").click()
    words = page.locator("#train-suggested label:has(input)")
    expect(words).to_have_count(6, timeout=240_000)
    words.filter(has_text="my_star: ").first.click()
    expect(page.locator("#train-initializer input")).to_have_value(re.compile(r"^mushroom, \w+$"))
    page.locator("#train-initializer input").fill("mushroom, star")
    ready, done = page.locator("#train-ready"), page.locator("#train-progress")
    expect(ready).to_contain_text("Ready: 6 images of “my_toadstool, my_star”.")

    # A preset brings a LoRA; masks are found by the model, and shown before anything is learned.
    page.locator("#train-preset").get_by_text("Embedding + LoRA").click()
    page.locator("#train-advanced").get_by_text("Advanced").click()
    expect(page.locator("#train-lora-rank input")).to_have_value("8")
    page.locator("#train-find-thing input").check()
    page.locator("#train-where").click()
    expect(page.locator("#train-where-shown img")).to_have_count(6)
    page.locator("#train-settings").get_by_text("Settings").click()
    for control, value in QUICK:
        number(page, control, value)
    page.locator("#train-start").click()
    expect(done).to_contain_text("Finished", timeout=540_000)
    expect(done).to_contain_text("my_toadstool+my_star.safetensors is in models/lora/")
    assert (mine / "lora" / "my_toadstool+my_star.safetensors").is_file()
    for name in ("my_toadstool", "my_star"):
        assert (app.embeddings / f"{name}.safetensors").is_file()
        expect(page.locator("#train-report")).to_contain_text(name)
    expect(page.locator("#train-report").get_by_text("Verdict")).to_have_count(2)

    # What the model cannot draw is said before the run, and in the verdict after it.
    page.reload()
    page.get_by_role("tab", name="Train").click()
    noise = [tmp_path / f"noise {index}.png" for index in range(3)]
    for index, path in enumerate(noise):
        values = np.random.default_rng(index).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)
    page.locator("#train-pictures input[type=file]").set_input_files(noise)
    expect(page.locator("#train-strange")).to_contain_text("cannot draw such images")
    page.locator("#train-name input").fill("my_noise")
    page.locator("#train-initializer input").fill("star")
    page.locator("#train-settings").get_by_text("Settings").click()
    page.locator("#train-advanced").get_by_text("Advanced").click()
    for control, value in STRONG:
        number(page, control, value)
    page.locator("#train-continue-from input").fill("no_such_thing")
    page.locator("#train-start").click()
    expect(ready).to_contain_text("neither an embedding nor a file “no_such_thing”")
    page.locator("#train-continue-from input").fill("my_star")
    page.locator("#train-start").click()
    expect(done).to_contain_text("my_noise: Finished", timeout=540_000)
    expect(page.locator("#train-report")).to_contain_text("not shown")
    page.context.close()


def test_a_mask_is_painted_over_an_image_and_taken_back(
    start_app: Callable[..., App], chromium: Browser, tmp_path: Path
):
    page = open_train(chromium, start_app(folder=tmp_path))
    page.locator("#train-pictures input[type=file]").set_input_files(pictures(tmp_path, 3))
    page.locator("#train-name input").fill("my_toadstool")
    page.locator("#train-initializer input").fill("mushroom")
    expect(page.locator("#train-ready")).to_contain_text("Ready: 3 images")
    page.locator("#train-where").click()
    shown = page.locator("#train-where-shown img")
    expect(shown).to_have_count(3)
    found = shown.first.get_attribute("src")

    shown.first.click()
    canvas = page.locator("#train-mask-editor canvas").first
    expect(canvas).to_be_visible()
    expect(page.locator("#train-mask-said")).to_contain_text("0.png: Paint over what")
    said = page.locator("#train-mask-said")

    def painted() -> bool:  # the brush is there only some time after the canvas
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 40, y, steps=3)
        page.mouse.up()
        page.locator("#train-mask-keep").click()
        expect(said).not_to_contain_text("Paint over what")
        return "Nothing is painted" not in said.inner_text()

    wait_until(painted)
    expect(page.locator("#train-mask-said")).to_contain_text("what counts of it now")
    expect(shown.first).not_to_have_attribute("src", found)
    page.locator("#train-mask-undo").click()
    expect(page.locator("#train-mask-undo")).to_be_disabled()
    expect(page.locator("#train-mask-said")).to_contain_text("what counts of it now")
    page.screenshot(path=tmp_path / "mask.png", full_page=True)
    page.context.close()
