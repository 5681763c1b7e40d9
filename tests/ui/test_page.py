"""What the page promises to programs and to browsers with many tabs."""

from __future__ import annotations

import pytest

from tests.conftest import write_tiny_checkpoint
from webui.studio.studio import Studio
from webui.ui import page


@pytest.fixture
def config(studio: Studio) -> dict:
    return page.build(studio).config


def test_no_connection_is_held_per_tab(config: dict):
    assert config["connect_heartbeat"] is False


def test_nobody_types_into_what_the_timer_sets(config: dict):
    timers = {c["id"] for c in config["components"] if c["type"] == "timer"}
    typed = {
        c["id"]
        for c in config["components"]
        if c["type"] in ("number", "textbox", "slider", "checkbox")
        and c["props"].get("visible") is True
        and c["props"].get("interactive") is not False
    }
    for dependency in config["dependencies"]:
        if any(target in timers for target, _ in dependency["targets"]):
            assert not typed & set(dependency["outputs"])


def test_the_timer_answers_with_every_output_at_first_and_with_nothing_new_after(studio: Studio):
    demo = page.build(studio)
    timers = {c["id"] for c in demo.config["components"] if c["type"] == "timer"}
    [tick] = [fn for fn in demo.fns.values() if any(target in timers for target, _ in fn.targets)]
    keys = [getattr(component, "value", None) for component in tick.inputs[1:]]
    answer = tick.fn([], *keys)
    assert set(answer) <= set(tick.outputs)
    seen = answer[tick.outputs[0]]
    assert len(seen) > len(keys) and {"__type__": "update"} == tick.fn(seen, *keys)


def test_the_page_says_how_far_the_loading_of_a_model_is(studio: Studio):
    write_tiny_checkpoint(studio.settings.models_dir / "big")
    with studio.gate.hold("the test"):
        studio.models.switch("big")
        studio.models._report("big", 0.434)
        assert "Loading <strong>big</strong> … 43 %" in page._state(studio)
    studio.models.get(60)
    assert "Loading" not in page._state(studio)
