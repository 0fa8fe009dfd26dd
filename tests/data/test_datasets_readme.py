from pathlib import Path

import pytest

from fasttcm.data.builtin import ALIASES, BUILTIN_DATASETS, WITH_96_CLASSES
from fasttcm.data.catalog import known_datasets
from fasttcm.data.prepare.recipes import RECIPES, Recipe

README = Path(__file__).parents[2] / "datasets" / "README.md"


def row(recipe: Recipe) -> str:
    """The row of a dataset in the table: what the recipe says."""
    names = [name for name in known_datasets() if name not in ALIASES and not name.endswith("_96voc")]
    own = [f"`{name}`" for name in names if BUILTIN_DATASETS[name].recipe == recipe.name]
    protocol = recipe.protocol if isinstance(recipe.protocol, str) else ", ".join(recipe.protocol)
    images = ", ".join(f"{split} {count}".strip() for split, count in recipe.images.items())
    cells = [
        f"[{recipe.title}]({recipe.source})" if recipe.source else recipe.title,
        ", ".join(own) or "by path",
        recipe.license or "yours",
        recipe.expected,
        f"`fasttcm prepare {recipe.name} SRC DST`",
        images or "-",
        protocol,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@pytest.mark.parametrize("name", RECIPES)
def test_the_table_says_what_the_recipe_says(name: str) -> None:
    assert row(RECIPES[name]) in README.read_text().splitlines()


def test_the_table_has_no_other_rows() -> None:
    rows = [line for line in README.read_text().splitlines() if "| `fasttcm prepare " in line]
    assert len(rows) == len(RECIPES)


def test_every_name_is_listed_with_its_places() -> None:
    text = README.read_text()
    for alias, name in ALIASES.items():
        assert f"`{alias}`" in text, alias
        for place in BUILTIN_DATASETS[name].places[:1]:
            assert f"`{place.annotation_file}`" in text and f"`{place.image_root}`" in text, alias
    assert all(f"`{name}`" in text for name in ("totaltext_train", "nighttime_art", "dota15_val"))
    assert "_96voc" in text and len(WITH_96_CLASSES) == 9
