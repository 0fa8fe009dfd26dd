"""Train every detector on every backbone in its smallest form, on the same synthetic pictures, and compare them.

    python scripts/train_detectors.py                                  # all of it; one CPU core is enough
    python scripts/train_detectors.py --detectors pan --backbones clip_r50 fasttcm_cr50
    python scripts/train_detectors.py --only-report                    # of the runs there are

Each step is a ``fasttcm`` command that is printed before it runs, with ``configs/demo/<detector>_<backbone>.yaml``. A
run that was interrupted goes on where it stopped, one that is done is not repeated. The result: OUTPUT/table.md (hmean
of detection by iterations, on pictures that were not trained on) and OUTPUT/curves.png.
"""

import argparse
import csv
import shlex
import sys
from pathlib import Path

from rich.console import Console

from fasttcm.cli.main import main as fasttcm

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "demo"
DETECTORS = {"dbnet": "DBNet", "pan": "PAN", "fcenet": "FCENet"}
WITHOUT_LOSS = "fasttcm_cr50_no_loss"
"""FastTCM's map without its own loss: what is left when the matching loss goes."""
BACKBONES = ("fasttcm_cr50", "clip_r50", "tcm_cr50", "imagenet_r50", WITHOUT_LOSS)
"""In the order of the runs."""
COLUMNS = ("imagenet_r50", "clip_r50", "tcm_cr50", "fasttcm_cr50", WITHOUT_LOSS)
"""In the order of the table."""
TRAIN_IMAGES, TEST_IMAGES = 2000, 200
SCENE = ["--size", "192", "192", "--words", "1", "3", "--word-height", "24", "60"]
METRIC = "detection/hmean"
_CONSOLE = Console()

Curve = dict[int, float]
"""Iterations to hmean in 0..1."""


def run(*arguments: str) -> None:
    """Run one ``fasttcm`` command; stop when it fails or is interrupted."""
    _CONSOLE.print(f"\n[bold]$ fasttcm {shlex.join(arguments)}[/bold]", highlight=False, soft_wrap=True)
    code = fasttcm(arguments)
    if code:
        sys.exit(code)


def make_data(out: Path) -> None:
    """Draw the pictures, unless they are there."""
    for name, count, seed in (("train", TRAIN_IMAGES, 0), ("test", TEST_IMAGES, 1)):
        if not (out / "data" / name / "annotations.json").is_file():
            run("synth", str(out / "data" / name), "-n", str(count), "--seed", str(seed), *SCENE, "--overwrite")


def train(detector: str, backbone: str, out: Path, options: argparse.Namespace) -> None:
    """Train one detector, unless it is done."""
    folder = out / f"{detector}_{backbone}"
    if (folder / "model_final.safetensors").is_file():
        return
    config = CONFIGS / f"{detector}_{backbone}.yaml"
    paths = ["DATASETS.TRAIN", str(out / "data/train"), "DATASETS.TEST", str(out / "data/test")]
    paths += ["OUTPUT_DIR", str(folder)]
    run("train", "--config-file", str(config), "--device", options.device, "--resume", *paths, *options.overrides)


def read_curve(folder: Path) -> Curve:
    """The curve of a run, empty before its first evaluation."""
    file = folder / "eval.csv"
    if not file.is_file():
        return {}
    with open(file, newline="") as lines:
        return {int(row["iteration"]): float(row[METRIC]) for row in csv.DictReader(lines)}


def table(curves: dict[tuple[str, str], Curve], shown: int = 4) -> str:
    """Markdown: a row for every detector and ``shown`` iterations, a column for every backbone; hmean in percent."""
    backbones = [name for name in COLUMNS if any(key[1] == name for key in curves)]
    lines = ["| | iterations | " + " | ".join(f"`{name}`" for name in backbones) + " |"]
    lines.append("|---|--:|" + "--:|" * len(backbones))
    for detector, title in DETECTORS.items():
        own = {name: curves.get((detector, name), {}) for name in backbones}
        iterations = sorted({iteration for curve in own.values() for iteration in curve})
        step = max(len(iterations) // shown, 1)
        for iteration in iterations[len(iterations) - 1 :: -step][shown - 1 :: -1]:
            figures = [f"{100 * own[name][iteration]:.1f}" if iteration in own[name] else "" for name in backbones]
            lines.append(f"| {title} | {iteration} | " + " | ".join(figures) + " |")
            title = ""
    return "\n".join(lines) + "\n"


def draw(curves: dict[tuple[str, str], Curve], file: Path) -> None:
    """The curves side by side, a panel for every detector."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(DETECTORS), figsize=(11, 3.6), sharey=True, layout="constrained")
    for panel, (detector, title) in zip(panels, DETECTORS.items(), strict=True):
        for number, backbone in enumerate(COLUMNS):
            curve = curves.get((detector, backbone), {})
            if curve:
                style = "--" if backbone == WITHOUT_LOSS else "-"
                values = [100 * value for value in curve.values()]
                panel.plot(list(curve), values, style, color=f"C{number}", marker="o", markersize=3, label=backbone)
        panel.set(title=title, xlabel="iterations", ylim=(0, 100))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("detection hmean, %")
    handles = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(COLUMNS), frameon=False)
    figure.savefig(file, dpi=100)
    pyplot.close(figure)


def main() -> None:
    """Run the trainings and write the report, which grows with every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("output/detectors"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=list(DETECTORS), metavar="NAME")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES), metavar="NAME")
    parser.add_argument("--only-report", action="store_true", help="train nothing")
    parser.add_argument(
        "--opts", dest="overrides", nargs="+", default=[], metavar="KEY VALUE", help="config keys to change"
    )
    options = parser.parse_args()
    out: Path = options.output
    if not options.only_report:
        make_data(out)
        for backbone in options.backbones:
            for detector in options.detectors:
                train(detector, backbone, out, options)
                report(out)
    report(out)


def report(out: Path) -> None:
    """Write table.md and curves.png from what the runs left behind."""
    pairs = [(detector, backbone) for detector in DETECTORS for backbone in COLUMNS]
    curves = {pair: curve for pair in pairs if (curve := read_curve(out / "_".join(pair)))}
    if not curves:
        sys.exit(f"{out}: no run has been evaluated yet; leave out --only-report")
    (out / "table.md").write_text(table(curves))
    draw(curves, out / "curves.png")
    _CONSOLE.print(f"{out / 'table.md'}, {out / 'curves.png'}", highlight=False)


if __name__ == "__main__":
    main()
