"""What the page promises to programs and to browsers with many tabs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.conftest import write_tiny_checkpoint
from webui.studio.studio import Studio
from webui.ui import page
from webui.ui.polling import Poll


@pytest.fixture
def config(studio: Studio) -> dict:
    return page.build(studio, Poll()).config


def test_no_connection_is_held_per_tab(config: dict):
    assert config["connect_heartbeat"] is False


def the_poll(dependencies: Iterable[dict], components: list[dict]) -> tuple[dict, dict]:
    """Return the timer's question whether anything changed, and what is asked then."""
    timers = {c["id"] for c in components if c["type"] == "timer"}
    dependencies = list(dependencies)
    [tick] = [d for d in dependencies if any(target in timers for target, _ in d["targets"])]
    [wanted] = tick["outputs"]
    [answer] = [d for d in dependencies if (wanted, "change") in map(tuple, d["targets"])]
    return tick, answer


def test_nobody_types_into_what_the_timer_sets(config: dict):
    typed = {
        c["id"]
        for c in config["components"]
        if c["type"] in ("number", "textbox", "slider", "checkbox")
        and c["props"].get("visible") is True
        and c["props"].get("interactive") is not False
    }
    for dependency in the_poll(config["dependencies"], config["components"]):
        assert not typed & set(dependency["outputs"])


def test_the_poll_answers_with_every_output_at_first_and_with_nothing_new_after(studio: Studio):
    poll = Poll()
    demo = page.build(studio, poll)
    _, asked = the_poll(demo.config["dependencies"], demo.config["components"])
    fetch = demo.fns[asked["id"]]
    keys = [getattr(component, "value", None) for component in fetch.inputs[1:]]
    answer = fetch.fn([], *keys)
    assert set(answer) <= set(fetch.outputs)
    seen = answer[fetch.outputs[0]]
    assert len(seen) > len(keys) and {"__type__": "update"} == fetch.fn(seen, *keys)
    assert poll.versions(keys) == seen


def test_the_page_says_how_far_the_loading_of_a_model_is(studio: Studio):
    write_tiny_checkpoint(studio.settings.models_dir / "big")
    with studio.gate.hold("the test"):
        studio.models.switch("big")
        studio.models._report("big", 0.434)
        assert "Loading <strong>big</strong> … 43 %" in page._state(studio)
    studio.models.get(60)
    assert "Loading" not in page._state(studio)


def test_the_page_says_that_the_model_is_being_compiled(studio: Studio):
    write_tiny_checkpoint(studio.settings.models_dir / "one")
    studio.models.switch("one")
    studio.models.get(60)
    version = studio.models.state.version
    studio.models._say_compiling(True)
    assert "compiling …" in page._state(studio) and studio.models.state.version > version
    studio.models._say_compiling(False)
    assert "compiling" not in page._state(studio)
