"""A page gets what changed since it last asked, and nothing else."""

from __future__ import annotations

import gradio as gr
import pytest

from webui.ui.polling import Poll


def test_only_what_changed_is_sent():
    poll, state = Poll(), {"a": 1, "b": 1}
    with gr.Blocks():
        one, two = gr.HTML(), gr.HTML()
    poll.watch(lambda: state["a"], lambda: [f"a is {state['a']}"], [one])
    poll.watch(lambda: state["b"], lambda: [f"b is {state['b']}"], [two])
    seen, changed = poll.changes([])
    assert changed == {one: "a is 1", two: "b is 1"}
    assert poll.changes(seen) == (seen, {})
    state["b"] = 2
    seen, changed = poll.changes(seen)
    assert changed == {two: "b is 2"}
    assert poll.changes(seen) == (seen, {})


def test_a_page_of_an_earlier_version_of_the_app_gets_everything():
    poll = Poll()
    with gr.Blocks():
        one = gr.HTML()
    poll.watch(lambda: 5, lambda: ["five"], [one])
    assert poll.changes([1, 2, 3]) == ([5], {one: "five"})


def test_what_is_followed_depends_on_the_page():
    poll, versions = Poll(), {"a": 1, "b": 1}
    with gr.Blocks():
        one, two, key = gr.HTML(), gr.HTML(), gr.Textbox()
    poll.watch(lambda: 5, lambda: ["five"], [one])
    poll.follow(
        key, lambda job: versions.get(job), lambda job: {two: f"{job} {versions[job]}"}, [two]
    )

    seen, changed = poll.changes([], "a")
    assert changed == {one: "five", two: "a 1"}
    assert poll.changes(seen, "b") == (seen, {})
    versions["b"] = 2
    seen, changed = poll.changes(seen, "b")
    assert changed == {two: "b 2"}


def test_a_page_learns_whether_to_ask_without_getting_anything():
    poll, versions = Poll(), {"a": 1}
    with gr.Blocks():
        one, two, key = gr.HTML(), gr.HTML(), gr.Textbox()
    poll.watch(lambda: 5, lambda: pytest.fail("nothing is rendered"), [one])
    poll.follow(key, versions.get, lambda job: pytest.fail("nothing is rendered"), [two])
    assert poll.versions(["a"]) == [5, 1] and poll.versions(["b"]) == [5, None]
    for keys in ([], ["a", "b"]):
        with pytest.raises(ValueError):
            poll.versions(keys)
