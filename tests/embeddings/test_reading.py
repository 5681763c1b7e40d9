"""A file is read and hashed once; each embedding in it can be called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.embeddings.embedding_parts import put, rows, until
from tests.prompting.prompt_parts import model_of, random_encoder
from webui.embeddings import embedding as embedding_module
from webui.embeddings import formats
from webui.embeddings.embedding import Embedding, EmbeddingCache
from webui.embeddings.formats import source
from webui.embeddings.library import EmbeddingLibrary
from webui.embeddings.reading import by_name
from webui.errors import AppError
from webui.prompting.conditioning import Conditioner
from webui.settings import ROOT

Open = Callable[..., EmbeddingLibrary]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often files were opened, and bytes and vectors hashed."""
    seen = {"opened": 0, "bytes": 0, "vectors": 0}

    def counted(what: str, original: Callable) -> Callable:
        def call(*given, **named):
            seen[what] += 1
            return original(*given, **named)

        return call

    monkeypatch.setattr(source.Source, "__init__", counted("opened", source.Source.__init__))
    monkeypatch.setattr(source.hashlib, "sha256", counted("bytes", source.hashlib.sha256))
    for module in (embedding_module, formats):
        monkeypatch.setattr(module, "hash_arrays", counted("vectors", module.hash_arrays))
    return seen


def test_from_its_arrival_to_the_picture_a_file_is_read_and_hashed_once(
    folder: Path, tmp_path: Path, open_library: Open, counts: dict[str, int]
):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "models" / "starter" / "tokenizer")
    model = model_of("sd1", tokenizer, (random_encoder("clip_l", 16, seed=1),))
    library = open_library(folder)
    put(tmp_path / "mug.pt", width=16)
    counts.update(opened=0, bytes=0, vectors=0)
    shutil.copyfile(tmp_path / "mug.pt", folder / "mug.pt")
    assert until(lambda: library.card("mug"))
    conditioner = Conditioner()
    for prompt in ("a mug", "a mug on a table", "a mug"):
        found = conditioner.prepare(model, prompt, "", 2, library)
        assert [used.name for used in found.used] == ["mug"]
    # The SHA-256 of the file's bytes, and one inside the hash of the vectors.
    assert counts == {"opened": 1, "bytes": 2, "vectors": 1}
    library.stop()

    library = open_library(folder)
    assert library.get("mug").content_hash == library.card("mug").content_hash
    assert counts == {"opened": 2, "bytes": 3, "vectors": 2}, "read again, the file not hashed"


def test_what_was_installed_is_not_read_again_when_its_event_comes(
    folder: Path, open_library: Open, counts: dict[str, int]
):
    library = open_library(folder)
    library.install(Embedding("own", {"clip_l": rows()}))
    assert library.get("own") is not None
    put(folder / "later.pt")
    assert until(lambda: library.card("later"))
    assert counts["opened"] == 2


def test_two_files_of_one_embedding_are_read_once_each(
    folder: Path, open_library: Open, counts: dict[str, int]
):
    put(folder / "face.safetensors", seed=1)
    put(folder / "face_2.safetensors", seed=2, width=1280)
    counts.update(opened=0, vectors=0)
    library = open_library(folder)
    assert set(library.get("face").vectors) == {"clip_l", "clip_g"}
    assert counts["opened"] == 2 and counts["vectors"] == 3, "each, and both together"


def a1111(path: Path, **placeholders: torch.Tensor) -> Path:
    torch.save({"string_to_token": {}, "string_to_param": placeholders}, path)
    return path


def test_each_placeholder_of_a_file_is_called_by_its_name_and_the_first_by_the_files_too(
    folder: Path, open_library: Open
):
    a1111(folder / "pack.pt", **{"cat-toy": rows(1), "<dog-toy>": rows(2, seed=1), "*": rows(3)})
    library = open_library(folder)
    assert set(library.names()) == {"pack", "cat-toy", "dog-toy"}
    lengths = {name: len(library.get(name)) for name in library.names()}
    assert lengths == {"pack": 3, "cat-toy": 1, "dog-toy": 2}, "“*” comes before the others"
    assert library.card("DOG-TOY").explicit_only and not library.card("pack").explicit_only
    assert len({card.key for card in library.snapshot().cards}) == 3


def test_the_tokens_of_a_diffusers_file_are_all_called(folder: Path, open_library: Open):
    tokens = {"<cat-toy>": rows(1), "<ink style>": rows(2, seed=1)}
    save_file(tokens, folder / "learned_embeds.safetensors", {"name": "both"})
    torch.save(tokens, folder / "old.bin")
    library = open_library(folder)
    assert set(library.names()) == {"learned_embeds", "old", "cat-toy", "ink style"}
    assert torch.equal(library.get("ink style").vectors["clip_l"], tokens["<ink style>"])
    assert torch.equal(library.get("old").vectors["clip_l"], tokens["<cat-toy>"])


def test_placeholders_are_known_after_a_restart_and_go_with_their_file(
    folder: Path, open_library: Open
):
    path = a1111(folder / "pack.pt", first=rows(1), second=rows(2))
    library = open_library(folder)
    before = library.snapshot().cards
    library.stop()
    library = open_library(folder)
    assert library.snapshot().cards == before
    assert len(library.get("second")) == 2
    a1111(path, first=rows(1), third=rows(3))
    assert until(lambda: set(library.names()) == {"pack", "first", "third"})
    path.unlink()
    assert until(lambda: not library.names())


def test_a_file_of_its_own_has_a_name_before_a_placeholder(folder: Path, open_library: Open):
    a1111(folder / "pack.pt", first=rows(1), cat=rows(2))
    put(folder / "cat.pt", count=4)
    library = open_library(folder)
    assert len(library.get("cat")) == 4
    assert [card.shadowed_by for card in library.snapshot().cards if card.name == "cat"] == [
        None, "cat.pt",
    ]  # fmt: skip


def test_a_placeholder_is_not_moved_away_without_its_file(folder: Path, open_library: Open):
    path = a1111(folder / "pack.pt", first=rows(1), second=rows(2))
    library = open_library(folder)
    for change in (
        lambda: library.delete("second"),
        lambda: library.rename("second", "other"),
        lambda: library.move("second", "sub"),
    ):
        with pytest.raises(AppError, match="one of several embeddings in pack.pt.*“pack”"):
            change()
    assert path.exists()
    exported = folder.parent / "second.safetensors"
    exported.write_bytes(library.export("second", "safetensors"))
    library.add_file(exported, "mine")
    assert len(library.get("mine")) == 2


@pytest.mark.parametrize(
    ("placeholders", "names"),
    [
        (["anything"], ["pack"]),
        (["*", "&"], ["pack", "pack-2"]),
        (["*", "x", "猫"], ["pack", "pack-2", "pack-3"]),
        (["pack", "other", "Other"], ["pack", "other", "pack-3"]),
        ([None, "a/b", "con"], ["pack", "pack-2", "pack-3"]),
    ],
)
def test_a_placeholder_that_is_no_name_gets_a_number(
    placeholders: list[str | None], names: list[str]
):
    embeddings = [Embedding("pack", {"clip_l": rows()}, inner_name=own) for own in placeholders]
    found = by_name("pack", embeddings)
    assert list(found) == names == [embedding.name for embedding in found.values()]


def test_the_vectors_used_last_are_kept_within_a_budget():
    def embedding(name: str) -> Embedding:
        return Embedding(name, {"clip_l": rows(1, 100)})

    cache = EmbeddingCache(most_bytes=1000)
    a, b, c = (embedding(name) for name in "abc")
    for one in (a, b):
        cache.put(Path(one.name), one.name, one)
    assert cache.get(Path("a"), "a", a.content_hash) is a
    assert cache.get(Path("a"), "a", "another content") is None
    cache.put(Path("c"), "c", c)
    kept = [cache.get(Path(one.name), one.name, one.content_hash) for one in (a, b, c)]
    assert kept == [a, None, c]
