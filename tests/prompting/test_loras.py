"""Comments and LoRA calls are taken out of a prompt."""

from __future__ import annotations

import pytest

from webui.prompting.loras import LoraCall, clean, take_loras

CALLS = [
    ("<lora:ink>", LoraCall("ink", 1, 1)),
    ("<lora:ink:0.8>", LoraCall("ink", 0.8, 0.8)),
    ("<lora:ink:0.5:0.9>", LoraCall("ink", 0.5, 0.9)),
    ("<lora:my ink v2:-1>", LoraCall("my ink v2", -1, -1)),
    ("<LORA:ink:0.8>", LoraCall("ink", 0.8, 0.8)),
    ("<lyco:ink:0.8>", LoraCall("ink", 0.8, 0.8)),
    ("<lora:ink:te=0.5:unet=0>", LoraCall("ink", 0.5, 0)),
    ("<lora:ink:0.7:unet=0.2>", LoraCall("ink", 0.7, 0.2)),
]


@pytest.mark.parametrize(("text", "call"), CALLS)
def test_a_lora_is_taken_out_of_the_text(text: str, call: LoraCall):
    assert take_loras(f"a {text}b") == ("a b", (call,), [])


@pytest.mark.parametrize("text", ["<lora:ink:nan>", "<lora:ink:1e999>", "<lora:ink:much>"])
def test_a_strength_that_is_no_number_leaves_the_call_as_text_and_says_so(text: str):
    left, calls, warnings = take_loras(text)
    assert (left, calls, len(warnings)) == (text, (), 1)


def test_of_two_calls_of_one_lora_the_last_counts():
    _, calls, warnings = take_loras("<lora:ink:0.2> <lora:ink:0.9>")
    assert calls == (LoraCall("ink", 0.9, 0.9),)
    assert "twice" in warnings[0]


def test_hypernetworks_are_left_out_with_a_warning():
    text, calls, warnings = take_loras("a <hypernet:x:1> b")
    assert (text, calls) == ("a   b", ())
    assert "hypernetworks" in warnings[0]


def test_other_angles_stay():
    assert take_loras("<bad> <embedding:bad:1>")[0] == "<bad> <embedding:bad:1>"


def test_a_lora_in_a_comment_is_not_called():
    assert take_loras("a cat # <lora:ink:1>") == ("a cat ", (), [])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("# a comment\na cat", "\na cat"),
        ("a cat # sitting\n on a mat", "a cat \n on a mat"),
        ("  # only a comment", "  "),
        ("c# and f#, a#b", "c# and f#, a#b"),
        ("#️⃣", "#️⃣"),
        ("e\u0301", "é"),
        ("a\ud800b", "a\ufffdb"),
    ],
)
def test_comments_are_left_out_and_text_is_put_in_normal_form(written: str, read: str):
    assert clean(written) == read
