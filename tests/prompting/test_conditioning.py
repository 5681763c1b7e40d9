"""Prompts to tensors, compared with an independent implementation, and the memory of them."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.prompting.prompt_parts import Shelf
from tests.prompting.slow import encode
from webui.embeddings.embedding import FIRST_ENCODER, OUTPUT, Embedding
from webui.errors import AppError, Interrupted
from webui.models.model import Model
from webui.prompting.conditioning import Conditioner, PromptSettings
from webui.prompting.source import EMPHASES

COLOURS = ("red", "tall", "wooden", "misty", "old")
THINGS = ("house", "tree", "lighthouse by the sea", "cat with a hat")
LONG = ", ".join(f"{colour} {thing}" for colour in COLOURS for thing in THINGS)

PROMPTS = [
    "",
    "a cat",
    "a (cat:1.3) on a [mat], ((dog))",
    "(a:0.5) (b:-0.5) (c:0) d",
    r"a \(photo\) of \[brackets\] \\ (unclosed attention",
    "a [unclosed, (b:1.2)",
    LONG,
    f"({LONG}:1.2), [{LONG}]",
    f"a house BREAK a tree, (misty:1.4) BREAK {LONG}",
    "easynegative",
    "a cat, (EasyNegative:1.3), bad-hands-5, a dog",
    "marc_allante, bad, bad-hands-5, (marc_allante)",
    f"(bad-hands-5:0.8), {LONG}, easynegative, {LONG}",
    "full",
    "a cat, full, (full:1.1), a dog",
    "x " * 66 + ", easynegative and a few words more than the chunk holds",
    "x " * 73 + "easynegative",
    ",".join(["word"] * 90),
]


def vectors(shelf: Shelf, key: str = "clip_l") -> dict[str, torch.Tensor]:
    return {name: item.vectors[key] for name, item in shelf.embeddings.items()}


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt[:30])
@pytest.mark.parametrize("negative", [False, True], ids=["positive", "negative"])
def test_conditioning_of_sd1_equals_the_slow_implementation(
    prompt: str, negative: bool, sd1: Model, shelf: Shelf
):
    pair = ("", prompt) if negative else (prompt, "")
    step = Conditioner().prepare(sd1, *pair, 20, shelf).at(0)
    got = step.negative if negative else step.positives[0][0]

    expected = encode(prompt, sd1.tokenizer, sd1.text_encoders[0].model, vectors(shelf))

    assert got.shape[1] % 77 == 0
    torch.testing.assert_close(got[0, : len(expected)], expected, atol=1e-5, rtol=1e-5)
    assert got.shape[1] == len(expected)


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_takes_an_earlier_layer_of_sd1(skip: int, sd1: Model, shelf: Shelf):
    settings = PromptSettings(clip_skip=skip)
    got = Conditioner().prepare(sd1, "a (cat:1.2)", "", 1, shelf, settings).at(0).positives[0][0]
    model = sd1.text_encoders[0].model

    expected = encode("a (cat:1.2)", sd1.tokenizer, model, {}, layer=-skip)

    torch.testing.assert_close(got[0], expected, atol=1e-5, rtol=1e-5)


def test_sd2_uses_the_penultimate_layer_and_pads_with_zero(sd2: Model, shelf: Shelf):
    shelf.put("wide", {"clip_h": torch.randn(3, 24)})
    prompt = "a (cat:1.2), wide"
    got = Conditioner().prepare(sd2, prompt, "", 1, shelf, PromptSettings(clip_skip=2)).at(0)
    model = sd2.text_encoders[0].model
    own = {"wide": shelf.get("wide").vectors["clip_h"]}

    expected = encode(prompt, sd2.tokenizer, model, own, layer=-2, pad=0)

    torch.testing.assert_close(got.positives[0][0][0], expected, atol=1e-5, rtol=1e-5)


def test_sdxl_joins_both_encoders_and_pools_the_first_chunk_of_the_second(
    sdxl: Model, shelf: Shelf
):
    both = {"clip_l": torch.randn(4, 16), "clip_g": torch.randn(4, 20)}
    shelf.put("face", both)
    prompt = f"(face:1.2), a [cat], {LONG}"
    step = Conditioner().prepare(sdxl, prompt, "blurry", 1, shelf).at(0)
    first, second = (encoder.model for encoder in sdxl.text_encoders)

    left = encode(prompt, sdxl.tokenizer, first, {"face": both["clip_l"]}, layer=-2, norm=False)
    right, pooled = encode(
        prompt, sdxl.tokenizer, second, {"face": both["clip_g"]},
        layer=-2, norm=False, pad=0, pooled=True,
    )  # fmt: skip
    expected = torch.cat([left, right], dim=-1)

    torch.testing.assert_close(step.positives[0][0][0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(step.positive_pooleds[0][0], pooled, atol=1e-5, rtol=1e-5)
    assert step.negative_pooled.abs().sum() > 0


@pytest.mark.parametrize(
    ("initializer", "seen"),
    [(None, "a (tall) tree"), ("star", "a (star:1.2) (tall) tree"),
     ("one two three four five", "a (one two three:1.2) (tall) tree")],
)  # fmt: skip
def test_where_an_encoder_of_sdxl_has_no_vectors_the_class_word_stands_or_nothing(
    sdxl: Model, shelf: Shelf, initializer: str | None, seen: str
):
    vectors = torch.randn(3, 16)
    shelf.put("half", {"clip_l": vectors}, FIRST_ENCODER, initializer)
    prompt = "a (half:1.2) (tall) tree"
    step = Conditioner().prepare(sdxl, prompt, "", 1, shelf).at(0)
    first, second = (encoder.model for encoder in sdxl.text_encoders)
    left = encode(prompt, sdxl.tokenizer, first, {"half": vectors}, layer=-2, norm=False)
    right, pooled = encode(
        seen, sdxl.tokenizer, second, {}, layer=-2, norm=False, pad=0, pooled=True
    )
    hidden = step.positives[0][0][0]
    torch.testing.assert_close(hidden[:, :16], left, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(step.positive_pooleds[0][0], pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(hidden[:, 16:], right, atol=1e-5, rtol=1e-5)


def test_vectors_for_the_first_encoder_alone_are_refused_where_they_were_not_made_for_it(
    sdxl: Model, shelf: Shelf
):
    shelf.put("old", {"clip_l": torch.randn(1, 16)})
    [warning] = Conditioner().prepare(sdxl, "old", "", 1, shelf).warnings
    assert "was left as words" in warning


def test_a_text_encoders_output_is_the_whole_negative_conditioning(sd1: Model, shelf: Shelf):
    rows = shelf.put("reneg", {"clip_l": torch.randn(77, 16)}, OUTPUT).vectors["clip_l"]
    found = Conditioner().prepare(sd1, f"a cat, {LONG}", "<reneg>", 2, shelf)
    against = found.at(0).negative
    assert torch.equal(against, rows.repeat(against.shape[1] // 77, 1)[None])
    assert [used.name for used in found.used] == ["reneg"] and found.warnings == ()
    beside = Conditioner().prepare(sd1, "a cat", "blurry, reneg", 1, shelf)
    assert torch.equal(beside.at(0).negative, rows[None])
    assert "beside it was left out" in beside.warnings[0]


def test_elsewhere_than_in_the_negative_prompt_it_is_left_as_words(sd1: Model, shelf: Shelf):
    shelf.put("reneg", {"clip_l": torch.randn(77, 16)}, OUTPUT)
    found = Conditioner().prepare(sd1, "a cat, reneg", "", 1, shelf)
    assert "a whole negative prompt" in found.warnings[0] and found.used == ()
    shelf.put("other", {"clip_h": torch.randn(77, 24)}, OUTPUT)
    [warning] = Conditioner().prepare(sd1, "a cat", "other", 1, shelf).warnings
    assert "Made for" in warning


def test_an_empty_negative_prompt_of_sdxl_is_nothing_at_all(sdxl: Model, shelf: Shelf):
    step = Conditioner().prepare(sdxl, "a cat", "", 1, shelf).at(0)

    assert step.negative.abs().sum() == 0
    assert step.negative_pooled.abs().sum() == 0


def conditioning_of(model: Model, prompt: str, shelf: Shelf, **settings) -> torch.Tensor:
    step = Conditioner().prepare(model, prompt, "", 1, shelf, PromptSettings(**settings)).at(0)
    return step.positives[0][0]


@pytest.mark.parametrize(
    "written",
    ["a cat, EasyNegative", "a cat, <easynegative>", "a cat, embedding:easynegative",
     "a cat, <embedding:easynegative>", "a cat, <embedding:easynegative:1>",
     "a cat, easynegative.pt", "a cat, (embedding:easynegative:1.0)"],
)  # fmt: skip
def test_all_ways_to_call_an_embedding_are_the_same(written: str, sd1: Model, shelf: Shelf):
    expected = conditioning_of(sd1, "a cat, easynegative", shelf)
    assert torch.equal(conditioning_of(sd1, written, shelf), expected)
    assert not torch.equal(conditioning_of(sd1, "a cat, easynegativ", shelf), expected)


def test_break_inside_attention_breaks_and_weighs_both_sides(sd1: Model, shelf: Shelf):
    assert torch.equal(
        conditioning_of(sd1, "(a BREAK b:1.2)", shelf),
        conditioning_of(sd1, "(a:1.2) BREAK (b:1.2)", shelf),
    )


def test_comfy_emphasis_interpolates_from_the_empty_prompt(sd1: Model, shelf: Shelf):
    plain, empty = conditioning_of(sd1, "a cat", shelf), conditioning_of(sd1, "", shelf)
    expected = plain.clone()
    expected[:, 2] = empty[:, 2] + 1.5 * (plain[:, 2] - empty[:, 2])
    got = conditioning_of(sd1, "a (cat:1.5)", shelf, emphasis="comfy")
    torch.testing.assert_close(got, expected)


def test_emphasis_can_act_without_norm_or_not_at_all(sd1: Model, shelf: Shelf):
    plain = conditioning_of(sd1, "a cat", shelf)
    expected = plain.clone()
    expected[:, 2] *= 1.5
    torch.testing.assert_close(
        conditioning_of(sd1, "a (cat:1.5)", shelf, emphasis="no_norm"), expected
    )
    assert torch.equal(conditioning_of(sd1, "a (cat:1.5)", shelf, emphasis="ignore"), plain)
    assert not torch.equal(conditioning_of(sd1, "a (cat:1.5)", shelf, emphasis="none"), plain)


def test_the_shorter_prompt_is_filled_up_with_empty_chunks(sd1: Model, shelf: Shelf):
    step = Conditioner().prepare(sd1, "a BREAK b BREAK c AND d", "bad", 1, shelf).at(0)
    empty = conditioning_of(sd1, "", shelf)
    shapes = {step.negative.shape, *(part.shape for part, _ in step.positives)}
    assert shapes == {(1, 231, 16)}
    torch.testing.assert_close(step.negative[:, 77:154], empty)
    torch.testing.assert_close(step.positives[1][0][:, 154:], empty)


def test_prompts_keep_their_own_lengths_as_in_automatic1111(sd1: Model, shelf: Shelf):
    settings = PromptSettings(equal_lengths=False)
    step = Conditioner().prepare(sd1, "a BREAK b AND c", "bad", 1, shelf, settings).at(0)
    assert step.negative.shape == (1, 77, 16)
    first, second = (part for part, _ in step.positives)
    assert first.shape == second.shape == (1, 154, 16)
    alone = conditioning_of(sd1, "c", shelf)
    assert torch.equal(second[:, :77], alone)
    assert torch.equal(second[:, 77:], alone[:, -1:].expand(-1, 77, -1))


def test_a_schedule_acts_at_its_steps_on_both_sides(sd1: Model, shelf: Shelf):
    found = Conditioner().prepare(sd1, "[cat:dog:3]", "[bad::0.5]", 10, shelf)
    cat, dog = (conditioning_of(sd1, text, shelf) for text in ("cat", "dog"))
    assert [torch.equal(found.at(n).positives[0][0], cat) for n in range(10)] == [True] * 3 + [
        False
    ] * 7
    assert torch.equal(found.at(9).positives[0][0], dog)
    assert torch.equal(found.at(4).negative, conditioning_of(sd1, "bad", shelf))
    assert torch.equal(found.at(5).negative, conditioning_of(sd1, "", shelf))
    assert found.at(0) is found.at(2)
    assert len({id(found.at(n)) for n in range(10)}) == 3
    assert found.at(99) is found.at(9)


def test_alternation_takes_turns_and_comes_back_to_the_same_object(sd1: Model, shelf: Shelf):
    found = Conditioner().prepare(sd1, "[cat|dog|]", "", 6, shelf)
    assert found.at(0) is found.at(3)
    assert len({id(found.at(n)) for n in range(6)}) == 3


def test_schedules_can_switch_one_step_late_as_automatic1111_does(sd1: Model, shelf: Shelf):
    settings = PromptSettings(late_schedules=True)
    found = Conditioner().prepare(sd1, "[cat:dog:3]", "", 10, shelf, settings)
    assert found.at(3) is found.at(0)
    assert found.at(4) is not found.at(0)


def test_and_gives_parts_with_weights(sd1: Model, shelf: Shelf):
    step = Conditioner().prepare(sd1, "a cat AND a dog :0.5", "", 1, shelf).at(0)
    assert [weight for _, weight in step.positives] == [1.0, 0.5]
    assert torch.equal(step.positives[1][0], conditioning_of(sd1, "a dog", shelf))


def test_the_result_lists_what_it_used_once_each_with_hashes(sd1: Model, shelf: Shelf):
    found = Conditioner().prepare(
        sd1, "bad, [cat:v1:0.5] <lora:ink:0.8>", "(easynegative:1.2), Bad", 4, shelf
    )
    assert [used.name for used in found.used] == ["bad", "easynegative", "v1"]
    assert found.used[0].short_hash == "0123456789ab"
    assert found.used[0].content_hash == shelf.get(found.used[0].name).content_hash
    assert [lora.name for lora in found.loras] == ["ink"]
    assert found.warnings == ()


def test_embeddings_that_cannot_be_used_are_words_and_are_warned_of(sd1: Model, shelf: Shelf):
    shelf.put("sdxl_face", {"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)})
    shelf.change_card("v1", problem="The file is cut off.")
    found = Conditioner().prepare(sd1, "sdxl_face v1", "<nothere>", 1, shelf)
    assert found.used == ()
    assert len(found.warnings) == 3
    assert torch.equal(found.at(0).negative, conditioning_of(sd1, "", Shelf()))
    assert torch.equal(found.at(0).positives[0][0], conditioning_of(sd1, "sdxl_face v1", Shelf()))


def test_an_embedding_too_long_for_a_chunk_is_refused(sd1: Model, shelf: Shelf):
    shelf.put("huge", {"clip_l": torch.zeros(76, 16)})
    with pytest.raises(AppError, match="“huge” has 76 vectors"):
        Conditioner().prepare(sd1, "a huge cat", "", 1, shelf)


def test_the_same_prompt_is_remembered(sd1: Model, shelf: Shelf):
    conditioner = Conditioner()
    first = conditioner.prepare(sd1, "a cat, bad", "v1", 4, shelf)
    assert conditioner.prepare(sd1, "a cat, bad", "v1", 4, shelf) is first
    conditioner.forget()
    assert conditioner.prepare(sd1, "a cat, bad", "v1", 4, shelf) is not first


def test_a_text_in_another_pair_of_prompts_is_not_encoded_again(sd1: Model, shelf: Shelf):
    conditioner = Conditioner()
    first = conditioner.prepare(sd1, "a cat", "v1", 4, shelf).at(0)
    second = conditioner.prepare(sd1, "a dog", "v1", 8, shelf).at(0)
    assert second.negative is first.negative


def test_what_is_remembered_is_never_stale(sd1: Model, sd2: Model, shelf: Shelf):
    conditioner = Conditioner()

    def prepared(model: Model = sd1, applied: object = None, **settings) -> torch.Tensor:
        options = PromptSettings(**settings)
        found = conditioner.prepare(model, "(bad:1.2)", "", 4, shelf, options, applied)
        return found.at(0).positives[0][0]

    first = prepared()
    shelf.put("bad", {"clip_l": torch.ones(1, 16)})
    second = prepared()
    assert not torch.equal(first, second), "the file changed"
    shelf.embeddings["bad"] = Embedding("bad", {"clip_l": -torch.ones(1, 16)})
    assert not torch.equal(second, prepared()), "the vectors changed and the version did not"
    shelf.take("bad")
    words = prepared()
    assert not torch.equal(second, words), "the file is gone"
    shelf.put("bad", {"clip_l": torch.ones(1, 16)})
    assert torch.equal(second, prepared()), "the file is back"
    assert not torch.equal(second, prepared(clip_skip=2))
    assert not torch.equal(second, prepared(emphasis="no_norm"))
    assert prepared(applied=("ink", 0.8)) is not second
    assert prepared(sd2).shape[-1] == 24


def test_the_oldest_prompts_are_forgotten(sd1: Model, shelf: Shelf):
    conditioner = Conditioner(cache_size=2)
    first = conditioner.prepare(sd1, "a", "", 1, shelf)
    for prompt in "bc":
        conditioner.prepare(sd1, prompt, "", 1, shelf)
    assert conditioner.prepare(sd1, "a", "", 1, shelf) is not first


NASTY = st.lists(
    st.sampled_from(
        "( ) [ ] : | \\ < > # , - 0.5 :1.2) :-3) :1e999) nan BREAK AND embedding: bad "
        "bad-hands-5 full [a:b:0.5] [a|bad] <bad> <embedding:bad:1e38> \u202e \x00 \ud800 é".split()
    )
    | st.text(max_size=4)
    | st.just(" "),
    max_size=20,
).map("".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NASTY, NASTY, st.sampled_from(EMPHASES))
def test_any_text_whatsoever_gives_conditioning(
    sd1: Model, shelf: Shelf, prompt: str, negative: str, emphasis: str
):
    found = Conditioner().prepare(sd1, prompt, negative, 3, shelf, PromptSettings(emphasis))
    for step in range(3):
        for tensor in (found.at(step).negative, *(part for part, _ in found.at(step).positives)):
            assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("text", ["((a:9999999999)" * 3000, "a " * 50_000, "[a|b]" * 900])
def test_very_long_text_gives_conditioning_or_a_message(text: str, sd1: Model, shelf: Shelf):
    try:
        found = Conditioner().prepare(sd1, text, "", 2, shelf)
    except AppError as error:
        assert str(error).endswith(".")
    else:
        assert torch.isfinite(found.at(1).positives[0][0]).all()


@pytest.mark.parametrize(
    "prompt",
    [
        " AND ".join("[" + "|".join(f"{n} {m}" for m in range(70)) + "]" for n in range(30)),
        "word " * 1800 + "[" + "|".join(map(str, range(150))) + "]",
    ],
    ids=["alternations in parts", "long"],
)
def test_a_prompt_that_is_too_much_is_refused_at_once(sd1: Model, shelf: Shelf, prompt: str):
    begun = time.monotonic()
    with pytest.raises(AppError, match="too much"):
        Conditioner().prepare(sd1, prompt, "", 150, shelf)
    assert time.monotonic() - begun < 10


def test_preparing_a_prompt_can_be_interrupted(sd1: Model, shelf: Shelf):
    asked = iter([False, False])
    with pytest.raises(Interrupted):
        Conditioner().prepare(
            sd1, "a AND b AND c AND d", "", 2, shelf, stopped=lambda: next(asked, True)
        )
