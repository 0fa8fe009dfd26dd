"""The projects import as fasttcm.projects.<name> from the checkout and from a wheel; nothing names a machine."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = "import fasttcm.projects.abcnet.build as b; print(b.__file__)"


def run(folder: Path, cwd: Path) -> Path:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    result = subprocess.run([sys.executable, "-c", CODE], env=environment, cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip())


def test_projects_import_from_the_checkout(tmp_path: Path) -> None:
    assert run(ROOT, tmp_path) == ROOT / "projects" / "abcnet" / "build.py"


def test_projects_import_from_a_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("fasttcm", "projects"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path / "dist"),
        ".",
    ]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    packaged = {name for name in names if name.endswith(".py")}
    expected = {str(f.relative_to(ROOT)) for f in (ROOT / "fasttcm").rglob("*.py")}
    expected |= {f"fasttcm/projects/{f.relative_to(ROOT / 'projects')}" for f in (ROOT / "projects").rglob("*.py")}
    assert packaged == expected
    assert {"fasttcm/models/compact.safetensors", "fasttcm/data/synth/words.txt", "fasttcm/py.typed"} <= set(names)
    static = {str(f.relative_to(ROOT)) for f in (ROOT / "fasttcm/web/static").iterdir()}
    assert len(static) == 3 and static <= set(names)
    assert run(tmp_path / "site", tmp_path) == tmp_path / "site" / "fasttcm" / "projects" / "abcnet" / "build.py"


def test_python_and_torch_bounds_are_stated() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.10"' in text
    assert '"torch>=2.4"' in text


@pytest.mark.parametrize("pattern", [r"(?<![\w.])/(work|farm|home|root)/", r"\bpdb\b"])
def test_no_machine_paths_and_no_debuggers(pattern: str) -> None:
    files = [
        f
        for folder in ("fasttcm", "projects", "configs", "scripts", "docs")
        for f in (ROOT / folder).rglob("*")
        if f.is_file()
    ]
    text_files = [f for f in files if f.suffix in {".py", ".yaml", ".md", ".sh", ".txt"}]
    assert text_files
    assert [str(f) for f in text_files if re.search(pattern, f.read_text())] == []
