"""The states of jobs and runs: their words, and what each of them allows."""

from __future__ import annotations

import json

from webui.job_state import JobState


def test_each_state_waits_runs_or_has_ended():
    kinds = [(state is JobState.QUEUED, state.running, state.ended) for state in JobState]
    assert all(sum(kind) == 1 for kind in kinds)
    assert [state for state in JobState if state.resumable] == ["paused", "stopped", "failed"]


def test_a_state_is_its_word_wherever_it_is_written():
    assert json.dumps({"state": JobState.PAUSED}) == '{"state": "paused"}'
    assert f"{JobState.TRAINING}, {str(JobState.TRAINING).capitalize()}" == "training, Training"
    assert JobState("queued") is JobState.QUEUED
