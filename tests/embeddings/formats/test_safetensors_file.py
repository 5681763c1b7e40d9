"""Safetensors files: what the header claims is checked before it is believed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.embeddings.embedding_parts import rows
from webui.embeddings import formats


def file_of(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(shape: list[int], size: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"{not json at all", "damaged"),
        (b'{"x": 5}', "damaged"),
        ([], "no known format"),
        (b"{" + b'"a":{' * 5000, "damaged"),
        ({"x": entry([1, 768], 768 * 4)}, "damaged"),
        ({"x": entry([2, 768], 768 * 4)}, "as many bytes"),
        ({"x": entry([-1, 768], 8)}, "damaged"),
        ({"x": entry([10**6, 10**6], 4 * 10**12)}, "damaged"),
        ({"x": {"dtype": "F32", "shape": [1], "data_offsets": ["a", "b"]}}, "damaged"),
        ({"x": entry([0, 2**80], 0)}, "damaged"),
        ({"__metadata__": {"a": "b"}}, "No known layout"),
    ],
)
def test_a_header_that_claims_nonsense_is_refused(tmp_path: Path, header, expected: str):
    with pytest.raises(formats.Refused, match=expected):
        formats.read(file_of(tmp_path / "x.safetensors", header))


def test_a_header_longer_than_the_file_or_than_sense_is_refused(tmp_path: Path):
    for length in (10**6, 2**62, 0):
        file_of(tmp_path / "x.safetensors", b'{"a": 1}', length=length)
        with pytest.raises(formats.Refused):
            formats.read(tmp_path / "x.safetensors")


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path):
    save_file({"emb_params": rows()}, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    for length in range(1, len(whole), len(whole) // 25):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(formats.Refused):
            formats.read(tmp_path / "cut.safetensors")


def test_a_large_checkpoint_is_refused_by_its_header_alone(tmp_path: Path):
    header = {f"model.{i}.weight": entry([1024, 1024], 1024 * 1024 * 4) for i in range(900)}
    path = file_of(tmp_path / "sd.safetensors", header)
    with open(path, "r+b") as file:
        file.truncate(4 << 30)
    with pytest.raises(formats.Refused, match="weights of a model"):
        formats.read(path)


def test_metadata_is_returned_as_text_whatever_it_holds(tmp_path: Path):
    facts = {"recipe": "<img onerror=alert(1)>", "name": "{{ x }}"}
    save_file({"x": rows()}, tmp_path / "x.safetensors", metadata=facts)
    assert formats.inspect(tmp_path / "x.safetensors").metadata == facts
    header = {"__metadata__": [1, 2], "x": entry([1, 2], 8)}
    assert formats.inspect(file_of(tmp_path / "y.safetensors", header, b"\0" * 8)).metadata == {}


def test_integers_are_not_taken_for_vectors(tmp_path: Path):
    save_file({"x": torch.zeros(1, 768, dtype=torch.int32)}, tmp_path / "x.safetensors")
    with pytest.raises(formats.Refused):
        formats.read(tmp_path / "x.safetensors")


def test_equal_content_makes_equal_files_that_the_library_reads(tmp_path: Path):
    from safetensors import safe_open

    from webui.embeddings.formats import safetensors_file

    facts = {f"key {number}": "ä" * number for number in range(20)}
    files = {safetensors_file.write({"x": rows(), "y": rows(1)}, facts) for _ in range(5)}
    assert len(files) == 1
    (tmp_path / "x.safetensors").write_bytes(files.pop())
    with safe_open(tmp_path / "x.safetensors", "pt") as opened:
        assert opened.metadata() == facts and torch.equal(opened.get_tensor("x"), rows())
