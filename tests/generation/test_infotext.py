"""The parameters text is AUTOMATIC1111's, and a request survives the way there and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webui import __version__
from webui.generation.infotext import embedding_hashes, read_infotext, write_infotext
from webui.generation.request import EMPHASES, GenerationRequest
from webui.generation.samplers import SAMPLERS, SCHEDULE_TYPES

REQUEST = GenerationRequest(
    prompt="(marc_allante:1.2) a dog",
    negative_prompt="bad-hands-5",
    steps=25,
    sampler="Euler a",
    schedule_type="Karras",
    cfg_scale=6.5,
    width=640,
    height=512,
    seed=3,
)


def write(request: GenerationRequest, embeddings: dict[str, str] | None = None) -> str:
    return write_infotext(
        request, model_name="v1-5", model_hash="6ce0161689", embeddings=embeddings
    )


def test_the_text_has_automatic1111s_layout():
    text = write(REQUEST, {"marc_allante": "c74b4e810b03", "bad-hands-5": "aa7651be154c"})
    assert text == (
        "(marc_allante:1.2) a dog\n"
        "Negative prompt: bad-hands-5\n"
        "Steps: 25, Sampler: Euler a, Schedule type: Karras, CFG scale: 6.5, Seed: 3, "
        "Size: 640x512, Model hash: 6ce0161689, Model: v1-5, "
        'TI hashes: "marc_allante: c74b4e810b03, bad-hands-5: aa7651be154c", '
        f"Version: Embeddings WebUI {__version__}"
    )


def test_the_hashes_of_the_embeddings_are_read_back():
    _, pairs = read_infotext(write(REQUEST, {"a": "c74b4e810b03", "b c": "aa7651be154c"}))
    assert embedding_hashes(pairs) == {"a": "c74b4e810b03", "b c": "aa7651be154c"}


def test_a_text_of_automatic1111_is_read():
    request, pairs = read_infotext(
        "a castle, (stone:1.3)\nover a lake\nNegative prompt: blurry,\nEasyNegative\n"
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1234, Size: 512x768, "
        "Model hash: 6ce0161689, Model: v1-5-pruned, Clip skip: 2, Version: v1.5.1, "
        'TI hashes: "EasyNegative: c74b4e810b03"'
    )
    assert request.prompt == "a castle, (stone:1.3)\nover a lake"
    assert request.negative_prompt == "blurry,\nEasyNegative"
    assert (request.sampler, request.schedule_type) == ("DPM++ 2M", "Karras")
    assert (request.width, request.height, request.seed, request.clip_skip) == (512, 768, 1234, 2)
    assert pairs["Model"] == "v1-5-pruned"


def test_a_text_without_settings_is_all_prompt():
    request, pairs = read_infotext("a cat, size: big, colour: red, mood: calm")
    assert request == GenerationRequest(prompt="a cat, size: big, colour: red, mood: calm")
    assert pairs == {}


def lines(**options: int) -> st.SearchStrategy[str]:
    """Prompts as people write them: text in lines, none of which starts the negative prompt."""
    characters = st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"))
    line = st.text(characters, **options).filter(lambda text: "Negative prompt:" not in text)
    return st.lists(line, max_size=3).map(lambda parts: "\n".join(parts).strip())


@given(
    st.builds(
        GenerationRequest,
        prompt=lines(max_size=40),
        negative_prompt=lines(max_size=30),
        sampler=st.sampled_from(list(SAMPLERS)),
        schedule_type=st.sampled_from(list(SCHEDULE_TYPES)),
        steps=st.integers(1, 150),
        cfg_scale=st.integers(2, 60).map(lambda n: n / 2),
        width=st.integers(8, 256).map(lambda n: n * 8),
        height=st.integers(8, 256).map(lambda n: n * 8),
        seed=st.integers(0, 2**32 - 1),
        clip_skip=st.integers(1, 12),
        emphasis=st.sampled_from(list(EMPHASES)),
        match_anywhere=st.booleans(),
    )
)
def test_a_request_survives_the_text(request: GenerationRequest):
    assert read_infotext(write(request, {"x, y: z": "c74b4e810b03"}))[0] == request


@given(st.text())
def test_any_text_is_read_without_an_error(text: str):
    read_infotext(text)
