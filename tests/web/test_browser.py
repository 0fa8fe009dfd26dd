"""The page in a real browser: Chromium, headless, driven over WebDriver. Skipped where there is none."""

import base64
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasttcm import Spotter
from fasttcm.structures import TextPredictions

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra dev)")

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webdriver import WebDriver  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SECONDS = 60

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None,
    reason="needs a browser and its driver, for example Debian's packages chromium and chromium-driver",
)

DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
const carried = new DataTransfer();
for (const name of arguments[1]) carried.items.add(new File([bytes], name));
const options = { dataTransfer: carried, bubbles: true, cancelable: true };
for (const kind of ["dragover", "drop"]) document.getElementById("drop").dispatchEvent(new DragEvent(kind, options));
"""

PASTE = """
const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
const clipboardData = new DataTransfer();
clipboardData.items.add(new File([bytes], "pasted.png"));
document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
"""


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync", "window-size=1280,900",
        f"user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(SECONDS)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: WebDriver, page: str) -> Iterator[WebDriver]:
    browser.get(page)
    yield browser
    faults = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert [fault for fault in faults if "/api/words" not in fault] == []  # 4xx answers are logged, and are the test


def picture() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def drop(browser: WebDriver, data: bytes, *names: str) -> None:
    browser.execute_script(DROP, base64.b64encode(data).decode(), names)


def text(browser: WebDriver, name: str) -> str:
    return browser.find_element(By.ID, name).text


def wait_for(browser: WebDriver, name: str, words: str) -> None:
    """Until the element called ``name`` says ``words``."""
    WebDriverWait(browser, SECONDS).until(lambda b: words in text(b, name), f"{name} never said {words!r}")


def test_drop_look_copy_and_download(opened: WebDriver, page: str, downloads: Path) -> None:
    assert not opened.find_element(By.ID, "words").is_displayed()
    drop(opened, picture(), "photo.png")
    wait_for(opened, "status", "photo.png: 5 words")
    drawn = opened.find_element(By.ID, "drawn")
    assert (drawn.get_property("naturalWidth"), drawn.get_property("naturalHeight")) == (1000, 667)
    assert drawn.get_attribute("alt") == "photo.png with 5 words outlined" and drawn.size["width"] > 400

    opened.find_element(By.ID, "download").click()
    file = downloads / "photo.json"
    WebDriverWait(opened, SECONDS).until(lambda _: file.is_file() and file.stat().st_size)
    entry = json.loads(file.read_text())
    assert entry["file_name"] == "photo.png" and len(entry["words"]) == 5

    rows = [
        [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in opened.find_elements(By.CSS_SELECTOR, "#rows tr")
    ]
    expected = [[w["text"], f"{100 * w['score']:.0f} %", f"{100 * w['text_score']:.0f} %"] for w in entry["words"]]
    assert sorted(rows) == sorted([w if w[0] else ["-", w[1], "-"] for w in expected])

    row = opened.find_elements(By.CSS_SELECTOR, "#rows tr")[0]
    assert opened.find_elements(By.CSS_SELECTOR, "polygon.lit") == []
    opened.execute_script("arguments[0].focus()", row)
    assert len(opened.find_elements(By.CSS_SELECTOR, "polygon.lit")) == 1

    area = opened.find_element(By.ID, "text")
    shown = area.get_property("value")
    assert sorted(shown.split()) == sorted(w["text"] for w in entry["words"] if w["text"])
    assert paste_after_copy(opened) == shown
    assert text(opened, "copy") == "Copied"
    loaded = opened.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(loaded) >= 3 and all(address.startswith((page, "data:", "blob:")) for address in loaded)


def paste_after_copy(browser: WebDriver) -> str:
    """Click the copy button, then paste into a new field."""
    browser.find_element(By.ID, "copy").click()
    wait_for(browser, "copy", "Copied")
    browser.execute_script("document.body.append(Object.assign(document.createElement('textarea'), {id: 'paste'}))")
    field = browser.find_element(By.ID, "paste")
    field.send_keys(Keys.CONTROL, "v")
    value = str(field.get_property("value"))
    browser.execute_script("arguments[0].remove()", field)
    return value


def test_copying_without_the_clipboard_interface(opened: WebDriver) -> None:
    """Over plain HTTP from another machine the browser offers none."""
    drop(opened, picture(), "photo.png")
    wait_for(opened, "status", "5 words")
    opened.execute_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    opened.execute_script("document.getElementById('text').value = 'another text'")
    assert paste_after_copy(opened) == "another text"


def test_choosing_a_file_and_then_the_same_again(opened: WebDriver, tmp_path: Path) -> None:
    file = tmp_path / "chosen.png"
    file.write_bytes(picture())
    for _ in range(2):
        opened.find_element(By.ID, "file").send_keys(str(file))
        wait_for(opened, "status", "chosen.png: 5 words")


def test_pasting_a_picture(opened: WebDriver) -> None:
    opened.execute_script(PASTE, base64.b64encode(picture()).decode())
    wait_for(opened, "status", "pasted.png: 5 words")


def test_a_detector_and_a_picture_without_words(
    opened: WebDriver, spotter: Spotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    square = np.array([[5, 5], [20, 5], [20, 15], [5, 15]], np.float32)
    monkeypatch.setattr(spotter, "batch", lambda _: [TextPredictions.from_polygons(40, 60, [square], [0.87])])
    drop(opened, picture(), "photo.png")
    wait_for(opened, "status", "photo.png: 1 word in")
    assert text(opened, "unread") == "This model finds words and does not read them."
    assert text(opened, "rows").split("\n") == ["- 87 % -"]
    assert not opened.find_element(By.ID, "copy").is_displayed()
    assert opened.find_element(By.ID, "download").is_displayed()
    monkeypatch.setattr(spotter, "batch", lambda _: [TextPredictions.empty(40, 60)])
    drop(opened, picture(), "photo.png")
    wait_for(opened, "status", "photo.png: no words")
    assert not opened.find_element(By.ID, "words").is_displayed()


def test_a_server_that_is_gone(opened: WebDriver) -> None:
    opened.execute_cdp_cmd("Network.enable", {})
    opened.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/api/words*"]})
    drop(opened, picture(), "photo.png")
    wait_for(opened, "error", "No answer: is fasttcm web still running?")
    opened.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    drop(opened, picture(), "photo.png")
    wait_for(opened, "status", "5 words")


def test_mistakes_are_told_on_the_page(opened: WebDriver) -> None:
    drop(opened, b"no picture", "notes.txt")
    wait_for(opened, "error", "notes.txt: not an image")
    drop(opened, bytes(1_100_000), "big.png")
    wait_for(opened, "error", "big.png: 1.1 MB, and this page takes 1 MB at most")
    drop(opened, b"")
    wait_for(opened, "error", "That was not a file")
    assert not opened.find_element(By.ID, "words").is_displayed()
    drop(opened, picture(), "a.png", "b.png")
    wait_for(opened, "status", "a.png: 5 words")
    wait_for(opened, "status", "Only the first of the files was taken")
    assert text(opened, "error") == ""


def test_the_newest_picture_wins(opened: WebDriver) -> None:
    drop(opened, picture(), "old.png")
    drop(opened, picture(), "new.png")
    wait_for(opened, "status", "new.png: 5 words")
    time.sleep(0.5)
    assert "new.png" in text(opened, "status") and text(opened, "error") == ""


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_is_cut_off(opened: WebDriver, width: int) -> None:
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    drop(opened, picture(), "a-name-without-any-place-to-break-" * 3 + ".png")
    wait_for(opened, "status", "5 words")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    picture_box, zone = opened.find_element(By.ID, "figure").rect, opened.find_element(By.ID, "drop").rect
    beside = picture_box["x"] >= zone["x"] + zone["width"] and picture_box["y"] < zone["y"] + zone["height"]
    assert beside == (width > 800)
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
