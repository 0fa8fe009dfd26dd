"""``fasttcm web`` as a person types it; what the page does is tested in tests/web."""

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from fasttcm.cli.main import build_parser, main


def test_this_machine_only_unless_told_otherwise() -> None:
    options = build_parser().parse_args(["web"])
    assert options.host == "127.0.0.1" and options.weights == "compact" and options.max_upload_mb == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "none.safetensors"], "none.safetensors"),
        (["--weights", "{weights}", "--device", "tpu9"], "unknown device"),
        (["--weights", "{weights}", "--port", "70000"], "--port must lie in 0..65535, got 70000"),
        (["--weights", "{weights}", "--port", "{busy}"], "choose another --port"),
        (["--weights", "{weights}", "--max-upload-mb", "0"], "--max-upload-mb must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        known = {"weights": tiny_weights, "busy": busy.getsockname()[1]}
        assert main(["web", "--port", "0", *(argument.format(**known) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_the_message_says_how_to_get_it(
    package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("fasttcm.web", f"{package}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["web"]) == 2
    assert capsys.readouterr().err == f"fasttcm: error: the page needs {package}: pip install 'fasttcm[web]'\n"


def test_start_look_and_stop_with_ctrl_c(tiny_weights: Path) -> None:
    command = [sys.executable, "-m", "fasttcm", "web", "--weights", str(tiny_weights), "--device", "cpu", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("open http://127.0.0.1:")
            with urllib.request.urlopen(line.split()[1], timeout=120) as answer:
                assert b"Drop a picture here" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 0
        finally:
            process.kill()
        assert process.stdout.read() == process.stderr.read() == ""
