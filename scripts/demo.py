"""Fine-tune the spotter that comes with the package and look at what it learnt: what ``make demo`` runs.

Synthetic pictures of another kind than the model knows, its scores on some of them, a few hundred iterations on the
others, and the scores again. Each step is a ``fasttcm`` command that is printed before it runs, so the demo doubles as
a tour. The result is OUTPUT/index.html, readable without a server. An interrupted demo goes on where it stopped.
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

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "compact" / "finetune.yaml"
TRAIN_IMAGES, TEST_IMAGES = 400, 100
GALLERY_IMAGES = 18
SCENE = ["--preset", "signs", "--size", "480", "640", "--words", "3", "10"]
FIGURES = ("precision", "recall", "hmean")
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
    config, device = ["--config-file", str(CONFIG)], ["--device", options.device]
    test = ["DATASETS.TEST", str(out / "data/test")]
    run("eval", *config, *device, "--output", str(out / "before"), *test)
    weights = out / "train" / "model_final.safetensors"
    if not weights.is_file():
        paths = ["DATASETS.TRAIN", str(out / "data/train"), "OUTPUT_DIR", str(out / "train")]
        run("train", *config, *device, "--resume", *paths, *test, *options.overrides)
    run("eval", *config, *device, "--output", str(out / "after"), "MODEL.WEIGHTS", str(weights), *test)
    images = sorted(str(path) for path in (out / "data/test/images").iterdir())[:GALLERY_IMAGES]
    run("spot", *images, *device, "--weights", str(weights), "--output", str(out / "spot"))
    page(out, minutes=(time.monotonic() - began) / 60)
    _CONSOLE.print(f"\nOpen [bold]{out / 'index.html'}[/bold] in a browser.", highlight=False)


def results(out: Path, when: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Figures and predictions that `fasttcm eval` left in the folder ``when``."""
    folder = out / when / "test"
    return json.loads((folder / "metrics.json").read_text()), json.loads((folder / "predictions.json").read_text())


def page(out: Path, *, minutes: float) -> None:
    """Write index.html from what the commands left behind."""
    (before, predicted_before), (after, predicted_after) = results(out, "before"), results(out, "after")
    truth = json.loads((out / "after/test/ground_truth.json").read_text())
    rows = [
        [label, *(f"{100 * metrics[f'{group}/{figure}']:.1f}" for metrics in (before, after) for figure in FIGURES)]
        for group, label in (
            ("detection", "Detection"),
            ("end_to_end", "End-to-end, no lexicon"),
            ("end_to_end_full", "End-to-end, full lexicon"),
        )
        if f"{group}/hmean" in after
    ]
    iterations = len((out / "train/train.csv").read_text().splitlines()) - 1
    write_page(
        out / "index.html",
        title="The FastTCM text spotter that comes with the package, fine-tuned",
        lead=[
            "CLIP's ResNet in miniature with FastTCM's visual prompt, similarity matching and matching map, and an "
            "ABCNet head that finds curved words and reads them from their pixels. It was trained on synthetic "
            "pictures of one kind; these are of another.",
            f"{iterations} iterations on {TRAIN_IMAGES} pictures; scored before and after on {len(truth['images'])} "
            f"others. This demo took {minutes:.0f} minutes.",
        ],
        header=["Total-Text protocol, %", *(f"{figure}, {when}" for when in ("before", "after") for figure in FIGURES)],
        rows=rows,
        remark=["End-to-end counts a word when it is found and every letter is right, in any case of letters."],
        curves=curves_svg(out / "train/train.csv", out / "train/eval.csv"),
        key=[
            (css(MATCHED), "found and read"),
            (css(WRONG_TEXT), "found, read wrongly"),
            (css(UNMATCHED), "false alarm or missed word"),
            (css(DONT_CARE), "illegible, not scored"),
        ],
        gallery=gallery(out, truth, {"before": predicted_before, "after": predicted_after}),
    )


def css(colour: tuple[int, int, int]) -> str:
    """An RGB colour for the page."""
    return f"rgb{colour}"


def gallery(out: Path, truth: dict[str, Any], predictions: dict[str, dict[str, Any]]) -> list[GalleryItem]:
    """The first test pictures before and after, coloured by the scoring."""
    scored = {when: score(truth, found, protocol="totaltext") for when, found in predictions.items()}
    items = []
    for index, expected in enumerate(truth["images"][:GALLERY_IMAGES]):
        image = read_image(out / "data/test/images" / Path(expected["file_name"]).name)
        panels, captions = [], []
        for when, found in predictions.items():
            words = found["images"][index]["words"]
            outcome = scored[when].images[str(expected["id"])].detection.to_dict()
            points, texts = [np.array(word["points"]) for word in words], [word["text"] for word in words]
            colors = match_colors(len(words), outcome, side="predictions")
            panels.append(draw_words(image, points, texts, colors=colors, min_side=480))
            counts = {key: len(outcome[key]) for key in ("matches", "misses", "false_alarms")}
            captions.append("{matches} found, {misses} missed, {false_alarms} false".format(**counts))
        caption = f"{Path(expected['file_name']).name}: {captions[0]}; then {captions[1]}"
        items.append(GalleryItem(side_by_side(panels, list(predictions)), caption))
    return items


if __name__ == "__main__":
    main()
