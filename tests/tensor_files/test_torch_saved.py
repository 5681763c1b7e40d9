"""Files of torch.save are read as torch reads them, without torch and without running anything."""

from __future__ import annotations

import io
import pickle
import struct

import numpy
import pytest
import torch

from webui.tensor_files.stored import Array, Damaged, StoredTensor
from webui.tensor_files.torch_saved import Asked, Limits, NotTorch, read_torch

LIMITS = Limits(operations=3000, pickle_bytes=1 << 20, members=100)
TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
         torch.float8_e5m2, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
         torch.bool]  # fmt: skip


def saved(value: object, old_form: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not old_form)
    return buffer.getvalue()


def loaded(data: bytes) -> object:
    return read_torch(
        io.BytesIO(data), len(data), lambda start, size: data[start : start + size], LIMITS
    )


def numbers(tensor: torch.Tensor) -> Array:
    small = tensor.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
    return (tensor.float() if small else tensor).numpy()


@pytest.mark.parametrize("old_form", [False, True])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_numbers_of_every_type_are_read_as_torch_reads_them(dtype: torch.dtype, old_form: bool):
    bits = torch.arange(256, dtype=torch.uint8).repeat(8)
    whole = bits % 2 == 1 if dtype == torch.bool else bits.view(dtype)
    found = loaded(saved({"x": whole}, old_form))["x"]
    numpy.testing.assert_array_equal(found.read(), numbers(whole))


@pytest.mark.parametrize("old_form", [False, True])
def test_tensors_may_share_memory_and_lie_in_any_order(old_form: bool):
    base = torch.randn(6, 8)
    views = {
        "base": base, "turned": base.T, "column": base[:, 3], "part": base[2:5, 1:7:2],
        "wide": base[:1].expand(5, 8), "one": base[2, 2], "none": base[:0], "other": torch.ones(3),
        "parameter": torch.nn.Parameter(base), "deep": [({"x": base},)],
    }  # fmt: skip
    found = loaded(saved(views, old_form))
    found["deep"] = found["deep"][0][0]["x"]
    views["deep"] = base
    for name, tensor in views.items():
        assert found[name].shape == tuple(tensor.shape)
        numpy.testing.assert_array_equal(found[name].read(), tensor.detach().numpy())


@pytest.mark.parametrize("old_form", [False, True])
def test_what_would_be_run_is_told_and_not_run(old_form: bool):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    with pytest.raises(Asked) as asked:
        loaded(saved({"x": torch.ones(1), "evil": Evil()}, old_form))
    assert asked.value.args[1] == "print"


@pytest.mark.parametrize("old_form", [False, True])
@pytest.mark.parametrize("numbers", [(1 << 20, (4,), (1,)), (0, (1 << 40,), (1,)),
                                     (0, (4, 4), (1 << 40, 1)), (2, (3,), (1,))])  # fmt: skip
def test_no_tensor_reaches_beyond_its_storage(old_form: bool, numbers):
    class Claims:
        def __reduce__(self):
            storage = torch.storage.TypedStorage(
                wrap_storage=torch.ones(4).untyped_storage(), dtype=torch.float32, _internal=True
            )
            return torch._utils._rebuild_tensor_v2, (storage, *numbers, False, {})

    found = loaded(saved({"x": Claims()}, old_form))["x"]
    assert isinstance(found, StoredTensor)
    with pytest.raises(Damaged):
        found.read()


def test_a_file_cut_off_or_of_another_kind_is_told_apart():
    for whole in (saved({"x": torch.ones(9)}), saved({"x": torch.ones(9)}, True)):
        for length in range(0, len(whole), 7):
            with pytest.raises((Damaged, NotTorch)):
                loaded(whole[:length])
    with pytest.raises(NotTorch):
        loaded(pickle.dumps({"x": 1}, 2))


def test_any_byte_may_be_wrong():
    """The file is read or refused in one of the ways that are known."""
    for old_form in (False, True):
        whole = saved({"x": torch.ones(2, 3), "step": 5}, old_form)
        for place in range(len(whole)):
            wrong = (0, 0x80, whole[place] ^ 1)[place % 3]
            data = whole[:place] + struct.pack("B", wrong) + whole[place + 1 :]
            try:
                loaded(data)
            except Exception as fault:
                assert type(fault).__module__.startswith("webui."), fault
