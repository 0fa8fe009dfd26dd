"""The application over HTTP."""

import base64
import io
import json
import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from fasttcm import Spotter
from fasttcm.cli.main import main
from fasttcm.structures import TextPredictions


def picture(height: int = 40, width: int = 60, kind: str = "PNG", **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def ask(address: str, data: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a GET, or of a POST with ``data``."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data=data), timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def read(page: str, data: bytes, name: str = "photo.png") -> tuple[int, dict[str, Any]]:
    status, _, body = ask(f"{page}/api/words?name={quote(name)}", data)
    return status, json.loads(body)


def test_the_page_and_its_files_come_from_this_server_alone(page: str) -> None:
    status, headers, body = ask(page)
    text = body.decode()
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert "up to 1 MB" in text and ".jpeg" in text and "$" not in text
    sources = [body]
    assert headers["content-security-policy"].startswith("default-src 'self';")
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript")):
        assert f'"/static/{name}"' in text
        status, headers, body = ask(f"{page}/static/{name}")
        assert status == 200 and headers["content-type"].startswith(kind) and len(body) > 1000
        sources.append(body)
    addresses = set(re.findall(rb"https?:[^\"']*", b"".join(sources)))
    assert addresses == {b"http://www.w3.org/2000/svg"}  # the name of a language, never loaded
    assert ask(f"{page}/static/../app.py")[0] == 404
    assert ask(f"{page}/nothing")[0] == 404 and ask(f"{page}/api/words")[0] == 405


def test_the_json_is_that_of_fasttcm_spot(
    page: str, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("käse 1.png").write_bytes(picture())
    assert main(["spot", "käse 1.png", "--weights", str(tiny_weights), "--output", "out", "--device", "cpu"]) == 0
    status, answer = read(page, picture(), "C:\\pictures\\käse 1.png")
    assert status == 200 and answer["json"] == Path("out/käse 1.json").read_text()
    words = json.loads(answer["json"])["words"]
    assert len(words) == 5 and sorted(i for line in answer["lines"] for i in line) == list(range(5))
    assert answer["seconds"] > 0


@pytest.mark.parametrize(
    ("size", "drawn_size"), [((40, 60), (1000, 667)), ((900, 600), (667, 1000)), ((500, 1999), (1600, 400))]
)
def test_the_drawn_picture_shows_the_words_at_a_useful_size(
    page: str, spotter: Spotter, size: tuple[int, int], drawn_size: tuple[int, int]
) -> None:
    white = io.BytesIO()
    Image.new("RGB", size[::-1], "white").save(white, "PNG")
    _, answer = read(page, white.getvalue())
    kind, data = answer["picture"].split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as drawn:
        assert drawn.size == drawn_size
        pixels = np.asarray(drawn)
    scale = drawn_size[0] / size[1]
    found = TextPredictions.from_json(json.loads(answer["json"]))
    inside = [
        (int(x), int(y))
        for x, y in np.concatenate(found.polygons) * scale
        if 2 < x < drawn_size[0] - 2 and 2 < y < drawn_size[1] - 2
    ]
    assert inside
    for x, y in inside:  # an outline, its halo or a tag lies on every corner
        assert pixels[y - 2 : y + 3, x - 2 : x + 3].min() < 200


def test_pictures_are_turned_as_their_exif_says(page: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    entry = json.loads(read(page, picture(40, 60, "JPEG", exif=exif))[1]["json"])
    assert (entry["width"], entry["height"]) == (40, 60)


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"", 422, "photo.png: the file is empty (0 bytes)"),
        (b"hello", 422, "photo.png: not an image, or damaged beyond recognition"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "photo.png: not an image"),
        (picture()[:300], 422, "photo.png: cannot decode the PNG image"),
        (picture(1001, 1000, "GIF"), 413, "photo.png: larger than 1 MB, the most this page takes"),
    ],
)
def test_a_bad_upload_is_one_line_and_the_server_goes_on(page: str, data: bytes, status: int, message: str) -> None:
    got, answer = read(page, data)
    assert (got, list(answer)) == (status, ["error"])
    assert answer["error"].startswith(message) and "\n" not in answer["error"]
    assert read(page, picture())[0] == 200


def png_of(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")]
    parts = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((30000, 30000), "bomb.png: refused as a decompression bomb"),
        ((1001, 1000), "bomb.png: 1001 x 1000 pixels, more than the limit of 1000000"),
    ],
)
def test_a_decompression_bomb_is_refused_by_its_header(page: str, size: tuple[int, int], message: str) -> None:
    status, answer = read(page, png_of(*size), "bomb.png")
    assert status == 422 and answer["error"].startswith(message)
    assert read(page, picture())[0] == 200


def test_the_limit_counts_bytes_not_the_announced_length(page: str) -> None:
    host, port = page.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"POST /api/words?name=a.png HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(11):
            client.sendall(b"%x\r\n" % 100_000 + b"x" * 100_000 + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_browser_that_leaves_while_sending_is_no_trouble(page: str, caplog: pytest.LogCaptureFixture) -> None:
    host, port = page.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"POST /api/words HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        time.sleep(0.1)
    assert read(page, picture())[0] == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("a/b/c.png", "c.png"),
        ("..\\x.jpg", "x.jpg"),
        ("a\nb\x1b[31m.png", "ab[31m.png"),
        ("", "picture"),
        ("/", "picture"),
    ],
)
def test_names_are_plain(page: str, given: str, used: str) -> None:
    assert json.loads(read(page, picture(), given)[1]["json"])["file_name"] == used
    assert len(json.loads(read(page, picture(), "n" * 500)[1]["json"])["file_name"]) == 120


def test_requests_at_once_are_read_one_after_another(
    page: str, spotter: Spotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, answers = 0, 0, []
    batch = spotter.batch

    def watched(images: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.05)
        found = batch(images)
        running -= 1
        return found

    monkeypatch.setattr(spotter, "batch", watched)
    clients = [threading.Thread(target=lambda: answers.append(read(page, picture())[0])) for _ in range(4)]
    for client in clients:
        client.start()
    while len(answers) < 4 and any(client.is_alive() for client in clients):
        assert ask(page)[0] == 200  # the page itself does not wait for the model
    for client in clients:
        client.join()
    assert answers == [200] * 4 and most == 1


def test_a_fault_of_the_model_is_one_line_and_the_server_goes_on(
    page: str, spotter: Spotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(images: Any) -> Any:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(spotter, "batch", broken)
        status, answer = read(page, picture())
    assert status == 500 and answer["error"].startswith("the picture could not be read (RuntimeError)")
    assert read(page, picture())[0] == 200
