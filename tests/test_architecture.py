"""Imports only point down the floors, in no circle and at the top of a module; rooms stay small."""

from __future__ import annotations

import ast
import re
from collections import Counter
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from tests.trees import parsed

WEBUI = Path(__file__).resolve().parent.parent / "webui"
FLOORS = {
    "ui": 3, "api": 3, "cli": 3, "bootstrap": 3, "__main__": 3,
    "studio": 2,
    "generation": 1, "training": 1, "prompting": 1, "embeddings": 1, "models": 1,
    "archives": 0, "settings": 0, "errors": 0, "files": 0, "images": 0,
    "libraries": 0, "lora_pipelines": 0, "plain_json": 0, "reader_process": 0, "tensor_files": 0,
    "plain_text": 0, "devices": 0,
    "declarations": 0, "job_state": 0,
}  # fmt: skip
MAY_USE = {
    "generation": {"prompting", "embeddings", "models"},
    "training": {"prompting", "embeddings", "models"},
    "prompting": {"embeddings", "models"},
    "embeddings": set(),
    "models": set(),
    "ui": set(), "api": set(), "cli": {"bootstrap"},
    "bootstrap": {"ui", "api"},
    "__main__": {"cli"},
}  # fmt: skip
"""Which rooms of floors 1 and 3 may use which others of their floor."""
HEAVY = {"torch", "diffusers", "transformers"}
LATE = HEAVY | {"peft", "accelerate", "safetensors", "gradio", "huggingface_hub", "ray"}
"""Libraries that may be imported inside functions; docs/CONTRIBUTING.md says why."""
MOST_MODULES = 14
"""Of a folder, without those of its own folders."""
TESTED_WITH_OTHERS = {
    "api/sdapi/*": "api/sdapi/test_txt2img.py",
    "api/*": "api/test_routes.py",
    "cli/*": "cli/test_training.py",
    "declarations.py": "generation/test_request.py",
    "embeddings/events.py": "embeddings/test_watcher.py",
    "embeddings/formats/*": "embeddings/formats/test_formats.py",
    "embeddings/*": "embeddings/test_library.py",
    "errors.py": "cli/test_serving.py",
    "generation/plots/*": "generation/plots/test_xyz.py",
    "generation/sampling/*": "generation/sampling/test_samplers.py",
    "lora_pipelines.py": "generation/test_loras.py",
    "models/*": "models/test_loader.py",
    "settings.py": "cli/test_serving.py",
    "studio/training/*": "studio/training/test_runs.py",
    "studio/drawing.py": "studio/test_generating.py",
    "tensor_files/stored.py": "tensor_files/test_torch_saved.py",
    "training/jobs/*": "training/jobs/test_config.py",
    "devices/low_precision.py": "training/test_setup.py",
    "training/runs/run_state.py": "training/runs/test_run_folder.py",
    "training/score.py": "cli/test_scoring.py",
    "training/updates/update.py": "training/test_trainer.py",
    "ui/embeddings/*": "browser/test_embeddings_tab.py",
    "ui/train/*": "browser/test_train.py",
    "ui/txt2img/*": "browser/test_txt2img.py",
    "ui/*": "browser/test_page.py",
}
"""What tests the modules that have no test file of their name; the first pattern counts."""
OF_THE_WHOLE = {
    "test_architecture.py", "test_offline.py", "test_package.py",
    "api/sdapi/test_clients.py",
    "embeddings/formats/test_formats.py",
    "generation/metadata/test_other_programs.py", "prompting/test_documentation.py",
    "training/runs/test_old_files.py",
}  # fmt: skip
"""Test files of no module alone; ``browser/``, ``journeys/``, … are rooms of such tests."""
MODULES = sorted(WEBUI.rglob("*.py"))


def room_of(dotted: str) -> str | None:
    """The room of a dotted webui name, e.g. "webui.ui.cards" -> "ui"."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "webui" and len(parts) > 1 else None


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, wherever in the file."""
    return tuple(_imported(parsed(path)))


def _imported(tree: ast.AST) -> list[str]:
    """Every name that a piece of code imports, with its module."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(WEBUI)))
def test_imports_point_down(path: Path):
    here = path.relative_to(WEBUI).parts[0].removesuffix(".py")
    if here == "__init__":
        return
    for name in imports(path):
        assert name.split(".")[0] != "starter", "the app uses nothing of how its model is made"
        there = room_of(name)
        if there in (None, here) or there not in FLOORS:
            continue
        if FLOORS[here] == 0:
            assert FLOORS[there] == 0, f"{here} must not use {there} ({name})"
        elif FLOORS[here] == FLOORS[there]:
            assert there in MAY_USE[here], f"{here} must not use {there} ({name})"
        else:
            assert FLOORS[there] < FLOORS[here], f"{here} must not use {there} ({name})"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(WEBUI)))
def test_libraries_whose_modules_form_circles_are_imported_in_one_place(path: Path):
    if path.name not in ("libraries.py", "lora_pipelines.py"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"diffusers", "transformers", "accelerate", "peft"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(WEBUI)))
def test_only_the_page_knows_gradio_and_only_the_routes_know_fastapi(path: Path):
    here = path.relative_to(WEBUI).parts[0].removesuffix(".py")
    for name in imports(path):
        if name.split(".")[0] == "gradio":
            assert here in ("ui", "bootstrap")
        if name.split(".")[0] in ("fastapi", "starlette"):
            assert here in ("api", "bootstrap")


def test_the_page_is_built_without_importing_torch():
    import subprocess
    import sys

    code = (
        "import sys; import webui.bootstrap, webui.ui.page, webui.api.routes; "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=WEBUI.parent, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def _dotted(path: Path) -> str:
    parts = path.relative_to(WEBUI.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {_dotted(path): path for path in MODULES}


def _module_of(name: str) -> str:
    """The module of ours that an imported name is or lies in; other names as they are."""
    return name if name in NAMES else name.rpartition(".")[0] if room_of(name) else name


def test_there_are_no_circles_of_imports_whatever_they_are_for():
    used = {
        module: {_module_of(name) for name in imports(path)} & NAMES.keys() - {module}
        for module, path in NAMES.items()
    }
    while ends := [module for module, others in used.items() if not others]:
        used = {module: others - set(ends) for module, others in used.items() if others}
    assert not used, f"circles among {sorted(used)}"


@cache
def _needed_by(module: str) -> frozenset[str]:
    """The libraries that importing a module imports, at once or by other modules of ours."""
    if module not in NAMES:
        return frozenset({module.split(".")[0]})
    found: set[str] = set()
    for node in parsed(NAMES[module]).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(*map(_needed_by, map(_module_of, _imported(node))))
    return frozenset(found)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(WEBUI)))
def test_imports_inside_functions_are_of_what_takes_long_or_may_be_missing(path: Path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for name in _imported(node):
                assert _needed_by(_module_of(name)) & LATE, (
                    f"{name} belongs to the top of the module"
                )


def test_the_guide_names_the_libraries_that_are_imported_late():
    guide = (WEBUI.parent / "docs" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rule = next(part for part in guide.split("\n- ") if "inside functions" in part)
    assert {name for name in re.findall(r"`(\w+)`", rule)} == LATE


def test_a_room_has_about_a_dozen_modules():
    rooms = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert not {str(room): count for room, count in rooms.items() if count > MOST_MODULES}


def test_tests_mirror_the_modules_or_are_named_where_they_do_not():
    tests = WEBUI.parent / "tests"
    modules = [path.relative_to(WEBUI) for path in MODULES if not path.name.startswith("__")]
    alone = {path for path in modules if not (tests / _test_of(path)).is_file()}
    found = {
        path: next((row for row in TESTED_WITH_OTHERS if fnmatchcase(path.as_posix(), row)), None)
        for path in alone
    }
    assert not [str(path) for path, row in found.items() if row is None]
    assert set(found.values()) == TESTED_WITH_OTHERS.keys(), "rows that no module needs"
    assert not [name for name in TESTED_WITH_OTHERS.values() if not (tests / name).is_file()]
    rooms = {path.parent.parts[0] for path in modules if path.parent.parts} | {"."}
    others = {
        path.relative_to(tests).as_posix()
        for path in tests.rglob("test_*.py")
        if (path.relative_to(tests).parent.parts or (".",))[0] in rooms
    } - {_test_of(path).as_posix() for path in modules}
    assert others == OF_THE_WHOLE


def _test_of(module: Path) -> Path:
    return module.parent / f"test_{module.name}"
