"""Make data, train a small FastTCM spotter, score it, look at it: what ``make demo`` runs.

Each step is a ``fasttcm`` command that is printed before it runs, so the demo doubles as a tour. The result is
OUTPUT/index.html, readable without a server. A demo that was interrupted goes on where it stopped.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from fasttcm.cli.main import main as fasttcm
from fasttcm.data.images import read_image
from fasttcm.drawing import DONT_CARE, MATCHED, UNMATCHED, WRONG_TEXT, draw_words, match_colors, side_by_side
from fasttcm.engine.page import GalleryItem, curves_svg, write_page
from fasttcm.evaluation import score

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "demo" / "fasttcm_abcnet.yaml"
TRAIN_IMAGES, TEST_IMAGES = 3000, 100
GALLERY_IMAGES = 24
SCENE = ["--size", "256", "256", "--words", "2", "5", "--word-height", "18", "52"]
_CONSOLE = Console()


def run(*arguments: str) -> None:
    """Run one ``fasttcm`` command; stop the demo when it fails."""
    _CONSOLE.print(f"\n[bold]$ fasttcm {' '.join(arguments)}[/bold]", highlight=False)
    code = fasttcm(arguments)
    if code:
        sys.exit(code)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/demo"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY VALUE", help="config keys to change, e.g. SOLVER.MAX_ITER 200"
    )
    options = parser.parse_args()
    out: Path = options.output
    began = time.monotonic()
    for name, count, seed in (("train", TRAIN_IMAGES, 0), ("test", TEST_IMAGES, 1)):
        if not (out / "data" / name / "annotations.json").is_file():
            run("synth", str(out / "data" / name), "-n", str(count), "--seed", str(seed), *SCENE, "--overwrite")
    paths = [
        "DATASETS.TRAIN",
        str(out / "data/train"),
        "DATASETS.TEST",
        str(out / "data/test"),
        "OUTPUT_DIR",
        str(out / "train"),
    ]
    weights = out / "train" / "model_final.safetensors"
    if not weights.is_file():
        run("train", "--config-file", str(CONFIG), "--device", options.device, "--resume", *paths, *options.overrides)
    run("eval", "--device", options.device, "--output", str(out / "eval"), "MODEL.WEIGHTS", str(weights), *paths)
    images = sorted(str(path) for path in (out / "data/test/images").iterdir())[:GALLERY_IMAGES]
    run("spot", *images, "--device", options.device, "--weights", str(weights), "--output", str(out / "spot"))
    page(out, minutes=(time.monotonic() - began) / 60)
    _CONSOLE.print(f"\nOpen [bold]{out / 'index.html'}[/bold] in a browser.", highlight=False)


def page(out: Path, *, minutes: float) -> None:
    """Write index.html from what the commands left behind."""
    metrics = json.loads((out / "eval/test/metrics.json").read_text())
    predictions = json.loads((out / "eval/test/predictions.json").read_text())
    truth = json.loads((out / "eval/test/ground_truth.json").read_text())
    rows = [
        [label, *(f"{100 * metrics[f'{group}/{figure}']:.1f}" for figure in ("precision", "recall", "hmean"))]
        for group, label in (
            ("detection", "Detection"),
            ("end_to_end", "End-to-end, no lexicon"),
            ("end_to_end_full", "End-to-end, full lexicon"),
        )
        if f"{group}/hmean" in metrics
    ]
    iterations = len((out / "train/train.csv").read_text().splitlines()) - 1
    write_page(
        out / "index.html",
        title="A FastTCM text spotter, trained from nothing",
        lead=[
            "CLIP's ResNet and text tower in miniature with random weights, FastTCM's prompts, similarity matching and "
            "matching map, and an ABCNet head that finds curved words and reads them.",
            f"{iterations} iterations on {TRAIN_IMAGES} synthetic pictures; scored on {len(truth['images'])} pictures "
            f"that were not among them. This demo took {minutes:.0f} minutes.",
        ],
        header=["Total-Text protocol, %", "Precision", "Recall", "Hmean"],
        rows=rows,
        remark=[
            "Finding words is learnt quickly; reading is not. The published recogniser had 260 000 iterations "
            f"where this demo has {iterations}, so the end-to-end figures are low or zero. They are shown as they are."
        ],
        curves=curves_svg(out / "train/train.csv", out / "train/eval.csv"),
        key=[
            (css(MATCHED), "found and read"),
            (css(WRONG_TEXT), "found, read wrongly"),
            (css(UNMATCHED), "false alarm or missed word"),
            (css(DONT_CARE), "illegible, not scored"),
        ],
        gallery=gallery(out, truth, predictions),
    )


def css(colour: tuple[int, int, int]) -> str:
    """An RGB colour for the page."""
    return f"rgb{colour}"


def gallery(out: Path, truth: dict[str, Any], predictions: dict[str, Any]) -> list[GalleryItem]:
    """Ground truth and prediction of the first test pictures side by side, coloured by the scoring."""
    result = score(truth, predictions, protocol="totaltext")
    items = []
    for expected, found in list(zip(truth["images"], predictions["images"], strict=True))[:GALLERY_IMAGES]:
        image = read_image(out / "data/test/images" / Path(expected["file_name"]).name)
        outcome = result.images[str(expected["id"])].detection.to_dict()
        panels = [
            draw_words(
                image,
                [np.array(word["points"]) for word in entry["words"]],
                [word["text"] for word in entry["words"]],
                colors=match_colors(len(entry["words"]), outcome, side=side),
                min_side=320,
            )
            for entry, side in ((expected, "ground_truth"), (found, "predictions"))
        ]
        missed, false = len(outcome["misses"]), len(outcome["false_alarms"])
        caption = f"{Path(expected['file_name']).name}: {len(outcome['matches'])} found, {missed} missed, {false} false"
        items.append(GalleryItem(side_by_side(panels, ["ground truth", "prediction"]), caption))
    return items


if __name__ == "__main__":
    main()
