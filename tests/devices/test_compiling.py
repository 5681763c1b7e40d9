"""A network computes as it is while it is compiled, and compiled from the next picture on."""

from __future__ import annotations

import logging
import threading

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from webui.devices.compiling import MOST_SHAPES, Compiled


class Small(nn.Module):
    """A network that counts its calls but those of what is compiled of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.calls = 0
        self.register_forward_pre_hook(self.count)

    def count(self, *_: object) -> None:
        self.calls += 1

    def forward(self, rows: Tensor, added: dict[str, Tensor] | None = None) -> tuple[Tensor]:
        shift = 0 if added is None else added["shift"]
        return (self.layer(rows) + shift,)


@pytest.fixture(autouse=True)
def _nothing_is_compiled() -> None:
    torch._dynamo.reset()


@torch.inference_mode()
def computed(compiled: Compiled, rows: Tensor) -> Tensor:
    """What one picture, of one step, comes to."""
    return compiled.now()(rows, added={"shift": rows})[0]


def test_it_computes_as_it_is_until_the_next_picture_after_it_is_ready():
    network, told = Small(), []
    graphs = CompileCounter()
    compiled = Compiled(network, graphs, told.append)
    rows = torch.ones(2, 3)
    picture = compiled.now()
    with torch.inference_mode():
        expected = picture(rows, added={"shift": rows})[0]
        assert compiled.wait(60) and told == [True, False]
        picture(rows, added={"shift": rows})
        assert network.calls == 2, "a picture goes on as it has begun"
    assert torch.equal(computed(compiled, rows), expected)
    assert network.calls == 2 and graphs.frame_count == 1


def test_weights_may_change_in_place_and_another_network_takes_over_what_is_compiled():
    graphs, rows = CompileCounter(), torch.ones(2, 3)
    for network in (Small(), Small()):
        compiled = Compiled(network, graphs)
        computed(compiled, rows)
        assert compiled.wait(60)
        with torch.no_grad():
            network.layer.weight += 1
        network.layer.bias.data = network.layer.bias.data + 1
        [expected] = network(rows, {"shift": rows})
        torch.testing.assert_close(computed(compiled, rows), expected)
    assert graphs.frame_count == 1


def test_each_shape_is_compiled_once_up_to_a_number_and_whatever_order_it_lies_in():
    network, graphs = Small(), CompileCounter()
    compiled = Compiled(network, graphs)
    for length in range(1, MOST_SHAPES + 3):
        computed(compiled, torch.ones(length, 3))
        compiled.wait(60)
    assert graphs.frame_count == MOST_SHAPES
    calls = network.calls
    computed(compiled, torch.ones(3, 2).T)
    assert (graphs.frame_count, network.calls) == (MOST_SHAPES, calls)


def test_while_one_shape_is_being_compiled_others_wait_for_their_turn():
    go_on = threading.Event()

    def slow(graph: torch.fx.GraphModule, _: list[Tensor]) -> object:
        go_on.wait(60)
        return graph.forward

    others = set(threading.enumerate())
    compiled = Compiled(Small(), slow)
    for length in (1, 2):
        computed(compiled, torch.ones(length, 3))
    new = [thread.name for thread in set(threading.enumerate()) - others]
    assert new.count("compile") == 1
    go_on.set()
    assert compiled.wait(60)
    computed(compiled, torch.ones(2, 3))
    assert compiled.wait(60) and len(compiled._ready) == 2


def test_what_cannot_be_compiled_goes_on_as_it_is_with_one_line(caplog: pytest.LogCaptureFixture):
    def broken(*_: object) -> object:
        raise RuntimeError("No compiler\nwas found")

    caplog.set_level(logging.WARNING, "webui")
    network, rows = Small(), torch.ones(2, 3)
    compiled = Compiled(network, broken)
    for _ in range(3):
        computed(compiled, rows)
        assert not compiled.wait(60)
    assert network.calls == 3
    [line] = [record.getMessage() for record in caplog.records]
    assert "goes on uncompiled" in line and "No compiler" in line and "\n" not in line


def test_while_another_thread_traces_a_graph_it_computes_as_it_is_and_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch,
):
    graphs, rows, network = CompileCounter(), torch.ones(2, 3), Small()
    compiled = Compiled(network, graphs)
    computed(compiled, rows)
    assert compiled.wait(60)
    with monkeypatch.context() as tracing:
        tracing.setattr(torch.fx._symbolic_trace, "_is_fx_tracing_flag", True)
        computed(compiled, rows)
    calls = network.calls
    computed(compiled, rows)
    assert not compiled.failed and (graphs.frame_count, network.calls) == (1, calls)


def test_a_function_that_computes_gradients_is_one_graph_with_the_way_back():
    graphs = CompileCounter()
    network = nn.Linear(3, 3)

    def downhill(rows: Tensor) -> Tensor:
        with torch.enable_grad():
            point = rows.detach().requires_grad_()
            [gradient] = torch.autograd.grad(network(point).square().sum(), [point])
        return rows - 0.1 * gradient

    compiled = Compiled(downhill, graphs, what="step", learns=True)
    rows = torch.ones(2, 3)
    assert compiled.attempt(rows) is None and compiled.wait(60)
    for _ in range(3):
        found = compiled.attempt(rows)
        torch.testing.assert_close(found, downhill(rows))
        rows = found
    assert graphs.frame_count == 1
