"""``train`` in a terminal: one embedding, and many."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from webui.cli import main
from webui.embeddings import formats
from webui.job_state import JobState
from webui.training.runs import tracking
from webui.training.runs.run_folder import Run, Status, list_runs
from webui.training.trials import words

QUICK = {"preset": "low_vram", "steps": 3, "evaluate_every": 3, "evaluation_tuples": 2}


def test_train_learns_a_file_from_a_folder_of_pictures(
    tmp_path: Path, data: Path, place: list[str], capsys: pytest.CaptureFixture[str]
):
    main(
        ["train", "--data", str(data), "--name", "my_thing_1", "--init", "star", "--steps", "3",
         "--preset", "low_vram", *place]
    )  # fmt: skip
    said = capsys.readouterr()
    assert str(tmp_path / "e" / "my_thing_1.safetensors") in said.out
    assert "skipped notes.md" in said.out
    assert "my_thing_1, step 3 of 3: " in said.err, "lines, not a bar"
    assert formats.read(tmp_path / "e" / "my_thing_1.safetensors").widths == {"clip_l": 128}


def test_train_says_everything_that_is_wrong_at_once(tmp_path: Path, place: list[str]):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="(?s)images.*initializer"):
        main(["train", "--data", str(tmp_path / "empty"), "--name", "x_1", "--init", " ", *place])


def test_what_is_missing_is_named_with_its_flag():
    with pytest.raises(SystemExit, match="“data” \\(--data\\)"):
        main(["train", "--name", "my_thing_1"])


def test_tensorboard_is_refused_where_it_is_not_installed(
    data: Path, place: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tracking, "available", lambda: False)
    with pytest.raises(SystemExit, match="pip install tensorboard"):
        main(
            ["train", "--data", str(data), "--name", "my_thing_1", "--init", "star",
             "--tensorboard", *place]
        )  # fmt: skip


def test_flags_come_before_the_file(tmp_path: Path, data: Path, place: list[str]):
    file = tmp_path / "my_thing.toml"
    file.write_text(
        'name = "from_file"\ndata = "data"\ninitializer = "star"\npreset = "low_vram"\n'
        "steps = 2\nevaluate_every = 1\nevaluation_tuples = 2\n"
    )
    main(["train", "--config", str(file), "--name", "from_flag", "--steps", "1", *place])
    (run,) = list_runs(tmp_path / "o" / "train")
    record = run.record()
    assert (record.name, record.recipe.steps, record.recipe.evaluate_every) == ("from_flag", 1, 1)
    assert [path.stem for path in (tmp_path / "e").glob("*.safetensors")] == ["from_flag"]


def test_a_kohya_file_trains_and_what_it_cannot_have_is_answered(
    tmp_path: Path, data: Path, place: list[str], capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "kohya").mkdir()
    data.rename(tmp_path / "kohya" / "20_mug")
    file = tmp_path / "kohya.json"
    values = {
        "model_name_or_path": "tiny", "train_data_dir": "kohya", "output_dir": "e",
        "output_name": "my_mug_1", "token_string": "my_mug_1", "init_word": "star",
        "num_vectors_per_token": "2", "learning_rate": "5e-3", "train_batch_size": "1",
        "max_train_steps": "3", "save_every_n_steps": "3", "mixed_precision": "no",
        "gradient_checkpointing": True, "use_8bit_adam": True, "surprise": 3,
    }  # fmt: skip
    file.write_text(json.dumps(values))
    main(["train", "--config", str(file), *place])
    said = capsys.readouterr().out
    assert "use_8bit_adam: " in said and "36 KiB" in said
    assert "surprise: this setting is not known" in said
    assert len(formats.read(tmp_path / "e" / "my_mug_1.safetensors")) == 2


def jobs_file(tmp_path: Path, data: Path, *names: str) -> Path:
    file = tmp_path / "jobs.json"
    shared = {"data": str(data), "initializer": "star", "preview_every": 0, **QUICK}
    file.write_text(json.dumps({"defaults": shared, "jobs": [{"name": name} for name in names]}))
    return file


@pytest.mark.slow
def test_jobs_are_trained_one_after_another_and_the_finished_ones_not_again(
    tmp_path: Path, data: Path, place: list[str], capsys: pytest.CaptureFixture[str]
):
    file = jobs_file(tmp_path, data, "job_a", "star", "job_b")
    with pytest.raises(SystemExit) as ended:
        main(["train", "--jobs", str(file), *place])
    assert ended.value.code == 1, "one job could not be done"
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert lines[0].startswith("job_a  finished") and lines[2].startswith("job_b  finished")
    assert "failed" in lines[1] and "ordinary word" in lines[1]

    (tmp_path / "e" / "job_b.safetensors").unlink()
    runs = list_runs(tmp_path / "o" / "train")
    cut = next(run for run in runs if run.record().name == "job_a")
    cut.set_status(Status(JobState.TRAINING))  # as a kill leaves it
    with pytest.raises(SystemExit):
        main(["train", "--jobs", str(file), *place])
    said = capsys.readouterr().out
    assert "job_a: going on at step 3" in said
    assert "job_b  finished before" in said
    assert (tmp_path / "e" / "job_b.safetensors").is_file(), "a lost file is installed again"
    assert len(list_runs(tmp_path / "o" / "train")) == 2, "no run began anew"


def test_each_of_several_processes_takes_its_share(
    tmp_path: Path, data: Path, place: list[str], monkeypatch: pytest.MonkeyPatch
):
    file = jobs_file(tmp_path, data, "job_a", "job_b", "job_c")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    main(["train", "--jobs", str(file), *place])
    (run,) = list_runs(tmp_path / "o" / "train")
    assert isinstance(run, Run) and run.record().name == "job_b"


def test_jobs_share_their_folders(tmp_path: Path, data: Path):
    file = tmp_path / "jobs.toml"
    file.write_text(
        f'[defaults]\ndata = "{data}"\ninit = "star"\n[[jobs]]\nname = "a_1"\n'
        '[[jobs]]\nname = "b_1"\noutputs_dir = "elsewhere"\n'
    )
    with pytest.raises(SystemExit, match="same “outputs_dir”"):
        main(["train", "--jobs", str(file)])


@pytest.mark.slow
def test_a_ray_cluster_trains_several_at_a_time(
    tmp_path: Path, data: Path, place: list[str], capsys: pytest.CaptureFixture[str]
):
    file = jobs_file(tmp_path, data, "job_a", "star", "job_b")
    with pytest.raises(SystemExit):
        main(["train", "--jobs", str(file), "--ray", "--workers", "2", *place])
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[:2] for line in lines] == [
        ["job_a", "finished"], ["star", "failed"], ["job_b", "finished"]
    ]  # fmt: skip


def test_without_ray_the_way_to_it_is_told(
    tmp_path: Path, data: Path, place: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(SystemExit, match="pip install ray"):
        main(["train", "--jobs", str(jobs_file(tmp_path, data, "job_a")), "--ray", *place])


@pytest.mark.slow
def test_the_same_command_after_a_finished_run_says_so_and_where_the_file_is(
    tmp_path: Path, data: Path, place: list[str], capsys: pytest.CaptureFixture[str]
):
    command = [
        "train", "--data", str(data), "--name", "my_thing_1", "--init", "star", "--steps", "2",
        "--preset", "low_vram", *place,
    ]  # fmt: skip
    main(command)
    capsys.readouterr()
    main(command)
    said = capsys.readouterr().out
    assert "finished before" in said and str(tmp_path / "e" / "my_thing_1.safetensors") in said
    assert len(list_runs(tmp_path / "o" / "train")) == 1
    main([*command, "--overwrite"])
    assert len(list_runs(tmp_path / "o" / "train")) == 2


def test_words_are_suggested_for_a_folder_and_nothing_is_trained(
    tmp_path: Path,
    data: Path,
    place: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(words.CANDIDATES, "object", words.THINGS[:6])
    monkeypatch.setattr(words, "ROUNDS", ((1, 5),))
    main(["train", "--data", str(data), "--suggest", *place])
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["word", "error", "gain"] and len(rows) == 5
    assert {row.split()[0] for row in rows} < {*words.THINGS[:6]} and last.startswith("6 words")
    assert not (tmp_path / "o" / "train").exists()


def test_a_file_continues_from_the_embedding_beside_it(
    tmp_path: Path, data: Path, place: list[str]
):
    import torch

    torch.save({"string_to_param": {"*": torch.randn(2, 128)}}, tmp_path / "theirs.pt")
    file = tmp_path / "my_thing.toml"
    asked = {**QUICK, "name": "my_thing_1", "data": "data", "initializer": "star"}
    lines = {**asked, "continue_from": "theirs.pt"}.items()
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in lines))
    main(["train", "--config", str(file), *place])
    made = formats.read(tmp_path / "e" / "my_thing_1.safetensors")
    theirs = formats.read(tmp_path / "theirs.pt")
    likeness = torch.cosine_similarity(made.vectors["clip_l"], theirs.vectors["clip_l"], dim=-1)
    assert likeness.shape == (2,) and bool((likeness > 0.9).all())
