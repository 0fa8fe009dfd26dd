"""Rooms import along the arrows of docs/architecture.md only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASICS = {"geometry", "charset", "structures", "errors"}
MODELS = BASICS | {"layers", "losses", "clip", "tcm"}
ALLOWED = {
    "errors": set(),
    "geometry": {"errors"},
    "charset_file": {"errors"},
    "charset": {"errors", "charset_file"},
    "structures": {"geometry", "charset"},
    "layers": BASICS,
    "losses": {"geometry", "structures", "layers", "errors"},
    "clip": {"layers", "errors"},
    "tcm": BASICS | {"layers", "losses", "clip"},
    "data": BASICS,
    "evaluation": BASICS,
    "drawing": BASICS,
    "projects": MODELS,
    "config": {"errors"},
    "engine": MODELS | {"data", "evaluation", "drawing", "projects", "config"},
    "d2": MODELS | {"data", "evaluation", "projects", "config", "engine"},
    "web": BASICS | {"data", "drawing", "engine"},
    "cli": MODELS | {"data", "evaluation", "drawing", "config", "engine", "web"},
    "__main__": {"cli"},
    "__init__": {"engine"},
}
FILES = sorted([*(ROOT / "fasttcm").rglob("*.py"), *(ROOT / "projects").rglob("*.py")])


def imported(file: Path) -> set[str]:
    """Absolute names of the modules a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def room(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return "projects" if parts[0] == "projects" else parts[1]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_run_along_the_arrows(file: Path) -> None:
    own = room(file)
    for name in imported(file):
        parts = name.split(".")
        assert parts[0] != "projects", f"{file}: import fasttcm.projects.<name>, never projects.<name>"
        if parts[0] == "detectron2":
            assert own == "d2", f"{file}: only fasttcm/d2 imports detectron2"
        if parts[0] != "fasttcm" or len(parts) == 1:
            continue
        if parts[1] == "__version__" or parts[1] == own != "projects":
            continue
        if parts[1] == own == "projects":
            project = file.relative_to(ROOT / "projects").parts[0]
            assert parts[2:3] in ([], [project]), f"{file} imports another project: {name}"
            continue
        assert parts[1] in ALLOWED[own], f"{file} ({own}) must not import {name}"


def test_every_room_is_listed() -> None:
    assert {room(file) for file in FILES} <= set(ALLOWED)


def test_importing_fasttcm_is_light() -> None:
    code = (
        "import sys, fasttcm; print([m for m in ('torch', 'lightning', 'detectron2', 'open_clip') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_spotter_needs_neither_lightning_nor_detectron2() -> None:
    code = (
        "import sys; from fasttcm import Spotter; print([m for m in ('lightning', 'detectron2') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
