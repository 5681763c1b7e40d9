"""The flags of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.cli.serving import parse_flags
from webui.settings import Settings


def test_without_flags_everything_is_as_usual():
    assert parse_flags([]) == Settings()


def test_folders_can_be_chosen_and_embeddings_have_several(tmp_path: Path):
    settings = parse_flags(
        [
            "--embeddings-dir",
            str(tmp_path / "a"),
            "--embeddings-dir",
            str(tmp_path / "b"),
            "--models-dir",
            str(tmp_path),
            "--models-dir",
            str(tmp_path / "more"),
            "--outputs-dir",
            str(tmp_path / "o"),
            "--port",
            "7999",
        ]
    )
    assert settings.embeddings_dirs == (tmp_path / "a", tmp_path / "b")
    assert (settings.models_dir, settings.outputs_dir) == (tmp_path, tmp_path / "o")
    assert settings.more_models_dirs == (tmp_path / "more",)
    assert settings.port == 7999


@pytest.mark.parametrize("flags", [["--listen"], ["--host", "0.0.0.0"]])
def test_serving_the_network_needs_a_login(flags: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse_flags(flags)
    assert "--auth user:password" in capsys.readouterr().err
    settings = parse_flags([*flags, "--auth", "me:secret:1"])
    assert settings.auth == ("me", "secret:1")
    assert settings.host == "0.0.0.0"


def test_a_network_without_a_login_must_be_asked_for():
    settings = parse_flags(["--listen", "--no-auth"])
    assert (settings.host, settings.auth) == ("0.0.0.0", None)


def test_a_login_and_none_contradict_each_other(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse_flags(["--listen", "--no-auth", "--auth", "me:secret"])
    assert "contradict" in capsys.readouterr().err


def test_half_a_login_is_refused():
    with pytest.raises(SystemExit):
        parse_flags(["--auth", "me"])


def test_sites_that_may_call_the_api_are_given_as_a1111_has_them(
    capsys: pytest.CaptureFixture[str],
):
    flags = ["--cors-allow-origins", "https://a.example,http://b.example:80"]
    settings = parse_flags([*flags, "--cors-allow-origins-regex", r"https://.*\.example"])
    assert settings.cors_origins == ("https://a.example", "http://b.example:80")
    assert settings.cors_origins_regex == r"https://.*\.example"
    with pytest.raises(SystemExit):
        parse_flags(["--cors-allow-origins-regex", "("])
    assert "no regular expression" in capsys.readouterr().err
