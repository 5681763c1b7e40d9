"""The flags of the command line."""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from webui.cli.serving import parse_flags, space_flags
from webui.settings import ROOT, Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_without_flags_everything_is_as_usual():
    assert parse_flags([]) == Settings()


def test_folders_can_be_chosen_and_embeddings_have_several(tmp_path: Path):
    settings = parse_flags(
        [
            "--compile",
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
    assert settings.port == 7999 and settings.compiled


@pytest.mark.parametrize("flags", [["--listen"], ["--host", "0.0.0.0"]])
def test_serving_the_network_needs_a_login(flags: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse_flags(flags)
    assert "--auth user:password" in capsys.readouterr().err
    settings = parse_flags([*flags, "--auth", "me:secret:1"])
    assert settings.auth == ("me", "secret:1")
    assert settings.host == "0.0.0.0"


def test_a_space_is_known_by_its_name_and_shown_in_the_frame_of_its_site():
    settings = parse_flags(space_flags({"SPACE_HOST": "me-pictures.hf.space"}))
    assert (settings.host, settings.auth, settings.behind_proxy) == ("0.0.0.0", None, True)
    assert settings.allowed_hosts == ("me-pictures.hf.space",)
    assert settings.frame_ancestors == ("https://huggingface.co",)
    assert space_flags({}) == []


def test_a_container_starts_with_flags_that_there_are():
    words = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in dockerfile() if " " in line}
    command, *flags = json.loads(words["ENTRYPOINT"]) + json.loads(words["CMD"])
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[command] == "webui.cli.serving:main"
    settings = parse_flags(flags)
    assert (settings.host, settings.auth) == ("0.0.0.0", None)
    assert f"EXPOSE {settings.port}" in dockerfile()
    assert f"http://127.0.0.1:{settings.port}/" in "".join(dockerfile())


def test_the_image_is_given_all_that_the_package_is_built_of():
    given = (ROOT / ".dockerignore").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for path in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]:
        assert any(fnmatch(path, line[1:]) for line in given if line.startswith("!")), path


def test_the_readme_makes_a_space_with_the_gradio_that_is_required():
    header = (ROOT / "README.md").read_text().split("---")[1]
    told = dict(line.split(": ", 1) for line in header.strip().splitlines())
    assert (ROOT / told["app_file"]).is_file() and told["sdk"] == "gradio"
    series = told["sdk_version"].rpartition(".")[0]
    assert f"gradio=={series}.*" in (ROOT / "requirements.txt").read_text()


def dockerfile() -> list[str]:
    return (ROOT / "Dockerfile").read_text().splitlines()


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
