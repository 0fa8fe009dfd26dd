"""``card.json``: what a prepared dataset is, where it comes from, what is in it, how it is scored."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fasttcm.data.prepare.lexicons import CardLexicon
from fasttcm.data.prepare.recipes import Recipe
from fasttcm.data.prepare.writer import Figures
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["CARD", "GENERATOR", "check_destination", "make_card", "residual_statistics", "write_card"]

CARD = "card.json"
GENERATOR = "fasttcm prepare 1"
"""Name and version; the version changes when the same files give another index."""

RESIDUAL_DIGITS = 3


def make_card(
    recipe: Recipe,
    split: str,
    *,
    figures: Figures,
    problems: Problems,
    lexicons: Mapping[str, CardLexicon],
    options: Mapping[str, Any],
    sha256: str,
) -> dict[str, Any]:
    """The card of one split; it holds nothing that changes when the same files are prepared again."""
    protocols = [recipe.protocol] if isinstance(recipe.protocol, str) else list(recipe.protocol)
    return {
        "name": f"{recipe.name}_{split}" if split else recipe.name,
        "title": recipe.title,
        "split": split,
        "source": recipe.source,
        "license": recipe.license,
        "protocol": protocols[0] if len(protocols) == 1 else protocols,
        "lexicons": dict(lexicons),
        "counts": {
            "images": figures.images,
            "published_images": recipe.images.get(split),
            "words": figures.words,
            "ignored": figures.ignored,
            "words_by_points": {str(points): count for points, count in sorted(figures.points.items()) if count},
        },
        "problems": dict(problems.counts),
        "exif_orientation": dict(sorted(figures.orientation.items())),
        "bezier_residual_pixels": residual_statistics(figures),
        "sha256": {"annotations.json": sha256},
        "options": dict(options),
        "generator": GENERATOR,
    }


def residual_statistics(figures: Figures) -> dict[str, float] | None:
    """How far, in pixels, annotated points are from the fitted curves; ``None`` if none were fitted."""
    if not figures.residuals:
        return None
    values = np.frombuffer(figures.residuals, np.float32)
    median, high = np.quantile(values, [0.5, 0.99])
    named = {"median": median, "percentile_99": high, "largest": values.max()}
    return {name: round(float(value), RESIDUAL_DIGITS) for name, value in named.items()}


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card under a temporary name and rename it."""
    part = folder / f"{CARD}.part"
    part.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    os.replace(part, folder / CARD)


def check_destination(folder: Path, name: str) -> None:
    """Refuse to write over a dataset that is not an earlier result of the same command.

    Raises:
        DataError: ``folder`` holds an index without a card of ours, or that of another dataset.
    """
    if not (folder / "annotations.json").is_file():
        return
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        ours = str(card["generator"]).startswith("fasttcm prepare") and card["name"] == name
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise DataError(f"{folder} holds another dataset; choose another folder, or remove its annotations.json first")
