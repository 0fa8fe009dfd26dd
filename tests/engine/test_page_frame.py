"""The frame of every page: nothing in it is taken for markup, nothing points outside."""

from pathlib import Path

import numpy as np
import pytest

from fasttcm.engine.html import GalleryItem, color_key, gallery_html, page_html, table_html
from fasttcm.engine.page import curves_svg, write_page


def test_texts_are_escaped_and_the_page_stands_alone():
    item = GalleryItem(np.zeros((4, 6, 3), np.uint8), "<caption>", ["<detail>"])
    sections = [("<heading>", table_html(["<h>"], [["<cell>"]])), ("Pictures", gallery_html([item]))]
    page = page_html("<title>", ["<lead>"], [*sections, ("Key", color_key([("red", "<meaning>")]))])
    for text in ("title", "lead", "heading", "h", "cell", "caption", "detail", "meaning"):
        assert f"&lt;{text}&gt;" in page
    assert "<cell>" not in page and "<detail>" not in page and "http" not in page
    assert page.count("data:image/jpeg;base64,") == 1


def test_the_page_of_a_training_run_has_every_section(tmp_path: Path):
    pytest.importorskip("matplotlib")
    (tmp_path / "train.csv").write_text("iteration,lr,loss,loss_a\n1,0.1,2,2\n2,0.1,1,1\n")
    (tmp_path / "eval.csv").write_text("iteration,dataset,detection/hmean,end_to_end/hmean\n2,x,0.5,0.25\n")
    write_page(
        tmp_path / "new" / "index.html",
        title="A run",
        lead=["Lead."],
        header=["", "hmean"],
        rows=[["Detection", "50.0"]],
        remark=["Remark."],
        curves=curves_svg(tmp_path / "train.csv", tmp_path / "eval.csv"),
        key=[("red", "missed")],
        gallery=[GalleryItem(np.zeros((4, 6, 3), np.uint8), "one")],
    )
    page = (tmp_path / "new" / "index.html").read_text(encoding="utf-8")
    places = [page.index(f"<h2>{name}</h2>") for name in ("Scores", "Training", "Pictures")]
    assert places == sorted(places) and page.count("<svg") == page.count("<figure ") == 1
    assert places[0] < page.index("50.0") < page.index("Remark.") < places[1] < page.index("<svg") < places[2]
