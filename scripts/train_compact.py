"""Train the spotter that ships with the package, from nothing to fasttcm/models/compact.safetensors.

Makes synthetic pictures, trains the detector and, beside it, the reader on the words of the same pictures (first with a
guide, then without), joins the two, trains them together for a while, and writes and scores the model. Each step is a
`fasttcm` command that is printed first; a run that was interrupted goes on where it stopped. Fonts and words:
docs/synthetic.md; costs: docs/compact.md.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from rich.console import Console

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.engine.checkpoint import load_weights, read_checkpoint, save_model

EXAMPLES = """examples:
  python scripts/train_compact.py                           # everything, for a machine with two cores
  python scripts/train_compact.py --device cuda --pictures 50000 --scale 10
  python scripts/train_compact.py --start-from compact      # joint training goes on from the shipped model
"""
CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "compact"
READER = "recognizer."
"""Where the reader's weights are in the model."""
_CONSOLE = Console()


def command(*words: str) -> list[str]:
    """A `fasttcm` command for a process of its own, printed."""
    _CONSOLE.print(f"\n[bold]$ fasttcm {' '.join(words)}[/bold]", highlight=False)
    return [sys.executable, "-m", "fasttcm", *words]


def run(*words: str) -> None:
    """Run one `fasttcm` command; stop when it fails."""
    if subprocess.run(command(*words), check=False).returncode:
        sys.exit(f"stopped: fasttcm {words[0]} failed; the same command goes on from here")


def run_together(lanes: Sequence[Sequence[Sequence[str]]]) -> None:
    """Run lanes of `fasttcm` commands at once, each with an equal share of the cores; those of a lane in turn."""
    share = ["env", f"OMP_NUM_THREADS={max(1, torch.get_num_threads() // len(lanes))}"]

    def succeeds(lane: Sequence[Sequence[str]]) -> bool:
        return all(subprocess.run([*share, *command(*words)], check=False).returncode == 0 for words in lane)

    with ThreadPoolExecutor(len(lanes)) as pool:
        finished = list(pool.map(succeeds, lanes))  # all of them, also after a failure
    if not all(finished):
        sys.exit("stopped: a training failed; the same command goes on from here")


def join(detector: Path, reader: Path, target: Path) -> None:
    """The detector's weights with the reader's reader."""
    cfg = load_config(CONFIGS / "joint.yaml")
    found, read = read_checkpoint(detector), read_checkpoint(reader)
    model = build_model(cfg, weights=False)
    weights = {key: (read if key.startswith(READER) else found).weights[key] for key in model.state_dict()}
    load_weights(model, weights, detector)
    save_model(target, model, cfg, found.iteration)


def make_pictures(options: argparse.Namespace, out: Path) -> None:
    """Scenes and their words on sheets, where they are not there yet."""
    source = ["--preset", "photo", "--split", "train", "--seed", "1", "--vocabulary", str(options.vocabulary)]
    for folder in options.fonts:
        source += ["--fonts", folder]
    if not (out / "scenes/annotations.json").is_file():
        run("synth", str(out / "scenes"), "-n", str(options.pictures), "--overwrite", *source)
    if not (out / "words/annotations.json").is_file():
        run("sheets", str(out / "scenes"), str(out / "words"))


def training(name: str, data: Path, out: Path, options: argparse.Namespace, *settings: str) -> list[str]:
    """The command of one stage."""
    iterations = int(load_config(CONFIGS / f"{name}.yaml").SOLVER.MAX_ITER * options.scale)
    paths = ["DATASETS.TRAIN", str(data), "OUTPUT_DIR", str(out / name), "SOLVER.MAX_ITER", str(iterations)]
    start = ["train", "--config-file", str(CONFIGS / f"{name}.yaml"), "--device", options.device, "--resume"]
    return [*start, *paths, *settings]


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("output/compact"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pictures", type=int, default=7000, help="synthetic pictures (default 7000)")
    parser.add_argument("--fonts", action="append", help="folder with fonts (default /usr/share/fonts)")
    parser.add_argument("--vocabulary", type=Path, default=Path("/usr/share/dict/american-english"))
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all iterations (default 1)")
    parser.add_argument("--start-from", metavar="FILE", help="skip the separate stages and train this model on")
    parser.add_argument("--target", type=Path, default=Path("output/compact/compact.safetensors"))
    options = parser.parse_args()
    options.fonts = options.fonts or ["/usr/share/fonts"]
    out: Path = options.output
    make_pictures(options, out)
    start, frozen = options.start_from, ["MODEL.TCM.TEXT_TOWER", "False"] if options.start_from else []
    if not start:
        scenes, words = out / "scenes", out / "words"
        guided = str(out / "recognizer/model_final.safetensors")
        detector = [training("detector", scenes, out, options)]
        reader = [
            training("recognizer", words, out, options),
            training("recognizer_refine", words, out, options, "MODEL.WEIGHTS", guided),
        ]
        run_together([detector, reader])
        start = str(out / "joined.safetensors")
        finals = [out / name / "model_final.safetensors" for name in ("detector", "recognizer_refine")]
        join(finals[0], finals[1], Path(start))
    run(*training("joint", out / "scenes", out, options, "MODEL.WEIGHTS", start, *frozen))
    final = out / "joint/model_final.safetensors"
    run("convert", str(final), str(options.target), "--half", *([] if frozen else ["--freeze-text"]))
    run("eval", "--config-file", str(CONFIGS / "eval.yaml"), "MODEL.WEIGHTS", str(options.target))


if __name__ == "__main__":
    main()
