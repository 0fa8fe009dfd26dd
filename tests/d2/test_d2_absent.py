"""What a user without detectron2, or with a broken one, is told. Runs without detectron2."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = "import sys; sys.modules['detectron2'] = None; "


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


def test_everything_else_works_without_detectron2() -> None:
    assert run(BLOCK + "import fasttcm; from fasttcm import Spotter; import fasttcm.engine.evaluate").returncode == 0


def test_the_adapter_says_how_to_install_it() -> None:
    done = run(BLOCK + "import fasttcm.d2")
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: fasttcm.d2 needs detectron2, which is not installed; its guide: https://")


def test_train_net_says_it_in_one_line() -> None:
    code = BLOCK + "import runpy; runpy.run_path('scripts/train_net.py', run_name='__main__')"
    done = run(code)
    assert done.returncode == 1 and done.stderr.startswith("train_net.py: error: fasttcm.d2 needs detectron2")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        ({"__init__.py": ""}, "the compiled part of detectron2 does not load with PyTorch"),
        ({"__init__.py": "__version__ = '0.1'", "_C.py": ""}, "detectron2 0.1 is too old"),
    ],
)
def test_old_or_wrongly_built(package: dict[str, str], expected: str, tmp_path: Path) -> None:
    (tmp_path / "detectron2").mkdir()
    for name, text in package.items():
        (tmp_path / "detectron2" / name).write_text(text)
    done = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fasttcm.d2")
    assert expected in done.stderr.strip().splitlines()[-1]
