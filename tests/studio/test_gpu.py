"""The gate lets one in at a time, in the order in which they came."""

from __future__ import annotations

import threading

import pytest

from tests.parts import wait_until
from webui.errors import Interrupted
from webui.studio.gpu import GpuGate


def test_the_first_to_come_is_the_first_to_enter():
    gate, order, waiting = GpuGate(), [], []

    def enter(number: int) -> None:
        waiting.append(number)
        with gate.hold(f"number {number}"):
            order.append(number)

    with gate.hold("the test"):
        assert gate.owner == "the test"
        threads = []
        for number in range(4):
            thread = threading.Thread(target=enter, args=(number,))
            thread.start()
            threads.append(thread)
            wait_until(lambda: len(gate._line) == len(threads))
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]
    assert gate.owner is None


def test_who_gives_up_leaves_the_line_and_the_next_one_enters():
    gate = GpuGate()
    with gate.hold("the test"):
        with pytest.raises(Interrupted):
            with gate.hold("impatient", given_up=lambda: True, poll_s=0.01):
                raise AssertionError("must not enter")
    with gate.hold("next", given_up=lambda: True):
        assert gate.owner == "next"


def test_an_error_inside_frees_the_gate():
    gate = GpuGate()
    with pytest.raises(ValueError), gate.hold("clumsy"):
        raise ValueError
    assert gate.owner is None


def test_a_long_loop_that_holds_it_step_by_step_lets_others_in_between():
    gate, entered = GpuGate(), []

    def draw() -> None:
        with gate.hold("a generation"):
            entered.append(steps)

    steps, thread = 0, threading.Thread(target=draw)
    for steps in range(200):
        with gate.hold("training step"):
            if steps == 10:
                thread.start()
                wait_until(lambda: len(gate._line) == 1)
        if entered:
            break
    thread.join()
    assert entered and steps <= 12
