"""Nothing in a torch file is ever run, and no claim in it takes memory or time."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy
import pytest
import torch

from tests.embeddings.embedding_parts import rows
from webui.embeddings import formats
from webui.embeddings.formats import torch_file
from webui.tensor_files.pickles import Inert, Known, read_pickle


class Payload:
    """Makes a pickle that runs a command when it is opened the usual way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def refusal(path: Path) -> str:
    with pytest.raises(formats.Refused) as refused:
        formats.read(path)
    return refused.value.reason


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors", ".SafeTensors", ".png"])
@pytest.mark.parametrize("form", ["zip", "old", "pickle", "pickle0", "pickle5"])
def test_a_payload_is_named_and_not_run(tmp_path: Path, form: str, suffix: str):
    path, marker = tmp_path / f"evil{suffix}", tmp_path / "ran"
    content = {"string_to_param": {"*": rows()}, "extra": Payload(marker)}
    if form.startswith("pickle"):
        protocol = int(form[6:] or 2)
        path.write_bytes(pickle.dumps(Payload(marker), protocol))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    reason = refusal(path)
    assert not marker.exists()
    assert "tried to run code" in reason and "system" in reason and "Nothing" in reason


def test_a_payload_hidden_from_the_first_look_is_not_run_either(tmp_path: Path):
    class Builtin:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"x": Builtin()}, tmp_path / "evil.pt")
    assert "eval" in refusal(tmp_path / "evil.pt") and not (tmp_path / "ran").exists()


def test_a_second_pickle_in_the_zip_file_is_not_used(tmp_path: Path):
    torch.save({"x": rows()}, tmp_path / "two.pt")
    with zipfile.ZipFile(tmp_path / "two.pt", "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps(Payload(tmp_path / "ran"), 2))
    refusal(tmp_path / "two.pt")
    assert not (tmp_path / "ran").exists()


def test_numpy_numbers_beside_the_vectors_are_understood(tmp_path: Path):
    torch.save({"string_to_param": {"*": rows()}, "step": numpy.int64(77)}, tmp_path / "n.pt")
    assert formats.read(tmp_path / "n.pt").step == 77


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path):
    ten_megabytes = b"\0" * (10 << 20)
    with zipfile.ZipFile(
        tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1
    ) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        for number in range(7):
            archive.writestr(f"archive/data/{number}", ten_megabytes)
    assert "zip bomb" in refusal(tmp_path / "bomb.pt")


def test_a_zip_file_that_lies_about_its_sizes_is_refused(tmp_path: Path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (4 << 20))
    data = buffer.getvalue().replace(struct.pack("<I", 4 << 20), struct.pack("<I", 100))
    (tmp_path / "liar.pt").write_bytes(data)
    assert "damaged" in refusal(tmp_path / "liar.pt")


def test_a_claim_of_a_million_million_floats_takes_no_memory(tmp_path: Path):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    torch.save({"x": torch.zeros(768)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.pt").read_bytes()
    assert data.count(struct.pack("<H", 768)) >= 1
    huge = data.replace(b"M" + struct.pack("<H", 768), b"\x8a\x06" + (10**12).to_bytes(6, "little"))
    (tmp_path / "x.pt").write_bytes(huge)
    refusal(tmp_path / "x.pt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_pickles_that_would_take_for_ever_or_grow_are_refused(tmp_path: Path):
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    many = b"N0" * 15_000
    for number, pickled in enumerate((text, many)):
        with zipfile.ZipFile(tmp_path / f"{number}.pt", "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + pickled + b"N.")
        assert "far more" in refusal(tmp_path / f"{number}.pt")


@pytest.mark.parametrize("old_form", [False, True])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, old_form: bool):
    torch.save({"x": rows()}, tmp_path / "x.pt", _use_new_zipfile_serialization=not old_form)
    whole = (tmp_path / "x.pt").read_bytes()
    for length in range(1, len(whole), max(1, len(whole) // 25)):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        assert refusal(tmp_path / "cut.pt")


def test_what_we_write_has_only_what_old_versions_of_a1111_let_pass(tmp_path: Path):
    """A1111 refuses zip members and pickled types that it does not know, torch's own among them."""
    data = torch_file.write({"string_to_param": {"*": rows()}, "name": "x", "step": 5})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        pickled = archive.read("archive/data.pkl")
    assert names == {"archive/data.pkl", "archive/version", "archive/data/0"}
    requests: list[tuple[str, str]] = []

    def find(module: str, name: str) -> Known:
        requests.append((module, name))
        return Known(Inert)

    read_pickle(io.BytesIO(pickled), 1000, find)
    assert {f"{module}.{name}" for module, name in requests} == {
        "torch._utils._rebuild_tensor_v2",
        "torch.FloatStorage",
        "collections.OrderedDict",
    }


def test_equal_vectors_make_equal_files():
    values = {"string_to_param": {"*": rows()}, "name": "x"}
    assert torch_file.write(values) == torch_file.write(values)
