import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fasttcm.charset import Charset
from fasttcm.data import catalog
from fasttcm.data.builtin import BUILTIN_DATASETS
from fasttcm.data.catalog import (
    known_datasets,
    load_dataset,
    load_entry,
    register_dataset,
    resolve_dataset,
    resolve_splits,
)
from fasttcm.data.check import check_dataset
from fasttcm.data.prepare.recipes import RECIPES
from fasttcm.errors import DataError

Write = Callable[..., Path]
Word = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _own_catalog(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalog, "_REGISTERED", dict(catalog._REGISTERED))
    yield


def test_a_published_name_stands_for_the_prepared_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTTCM_DATASETS", str(tmp_path))
    folder = tmp_path / "icdar2015" / "test"
    assert resolve_dataset("icdar2015_test").annotation_file == folder / "annotations.json"
    adelaidet = tmp_path / "icdar2015" / "ic15_test.json"
    adelaidet.parent.mkdir()
    adelaidet.write_text('{"images": []}')
    entry = resolve_dataset("icdar2015_test")  # AdelaiDet's layout, as nothing is prepared
    assert entry.annotation_file == adelaidet and entry.protocol == "icdar2015"
    assert entry.image_root == tmp_path / "icdar2015" / "test_images"
    folder.mkdir()
    (folder / "annotations.json").write_text('{"images": []}')
    assert resolve_dataset("icdar2015_test").protocol == "icdar2015"  # no card
    (folder / "card.json").write_text('{"protocol": ["mmocr", "icdar2015"], "lexicons": {"weak": "weak.txt"}}')
    entry = resolve_dataset("icdar2015_test")
    assert (entry.name, entry.protocol, entry.more_protocols) == ("icdar2015_test", "mmocr", ("icdar2015",))
    assert entry.lexicons == {"weak": folder / "weak.txt"} and entry.image_root is None
    assert resolve_dataset("totaltext_train", root="/else").annotation_file.parts[:2] == ("/", "else")


def test_other_publishers_names_and_layouts(tmp_path: Path) -> None:
    for name in ("syntext1", "syntext1_train", "syntext1_96voc", "syntext150k_1"):
        assert resolve_dataset(name, root=tmp_path).annotation_file.parent == tmp_path / "syntext150k_1" / "train"
    (tmp_path / "syntext1" / "annotations").mkdir(parents=True)
    (tmp_path / "syntext1" / "annotations" / "train_37voc.json").write_text("{}")
    entry = resolve_dataset("syntext1", root=tmp_path)
    assert entry.annotation_file.name == "train_37voc.json" and entry.rec_charset == Charset.named("lower36")
    assert entry.image_root == tmp_path / "syntext1" / "images"
    (tmp_path / "syntext1" / "annotations" / "train.json").write_text("{}")
    assert resolve_dataset("syntext1", root=tmp_path).rec_charset == Charset.named("ascii")


def test_chinese_sets_are_numbered_by_the_characters_of_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "ReCTS" / "annotations"
    folder.mkdir(parents=True)
    (tmp_path / "ReCTS" / "ReCTS_train_images").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "ReCTS" / "ReCTS_train_images" / "a.jpg")
    bezier = [10, 10, 25, 10, 45, 10, 60, 10, 60, 30, 45, 30, 25, 30, 10, 30]
    word = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [10, 10, 50, 20],
        "bezier_pts": bezier,
        "rec": [2, 0, 4, 4],
    }
    image = {"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}
    content = {"images": [image], "annotations": [word], "categories": [{"id": 1, "name": "text"}]}
    (folder / "rects_train.json").write_text(json.dumps(content))
    entry = resolve_dataset("rects_train", root=tmp_path)
    assert entry.rec_of_model and entry.protocol == "custom"
    assert load_entry(entry, charset=Charset("天地玄"))[0].targets.texts == ["玄天"]
    assert load_entry(entry)[0].targets.texts == ['" $$']  # classes of printable ASCII
    assert check_dataset(entry, charset=Charset("天地玄"), decode=False).statistics["characters"] == {"玄": 1, "天": 1}


def test_default_root_is_datasets_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTTCM_DATASETS", raising=False)
    assert resolve_dataset("totaltext_val").annotation_file == Path("datasets/totaltext/test/annotations.json")


def test_names_and_recipes_agree() -> None:
    for name, dataset in BUILTIN_DATASETS.items():
        if dataset.command:
            continue
        recipe = RECIPES[dataset.recipe]
        folder, _, split = dataset.folder.partition("/")
        assert split in recipe.splits, name
        assert recipe.source, name
        assert dataset.recipe in (folder, "adelaidet"), name
    published = {(recipe.name, split) for recipe in RECIPES.values() if recipe.images for split in recipe.splits}
    assert published == {(d.recipe, d.folder.partition("/")[2]) for d in BUILTIN_DATASETS.values()} & published
    assert "nighttime_art" in BUILTIN_DATASETS and "dota15_val" in BUILTIN_DATASETS


@pytest.mark.parametrize("name", ["icdar2015_train", "nighttime_art", "syntext2", "str_SVT"])
def test_a_missing_dataset_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    dataset = BUILTIN_DATASETS[name]
    destination = tmp_path / dataset.folder.split("/")[0]
    for attempt in (load_dataset, resolve_splits):
        with pytest.raises(DataError) as caught:
            attempt(name, root=tmp_path)
        message = str(caught.value)
        assert f"fasttcm prepare {dataset.recipe} SRC {destination}" in message and "\n" not in message
        assert (dataset.source or RECIPES[dataset.recipe].source) in message and "FASTTCM_DATASETS" in message


def test_a_folder_of_splits_stands_for_all_of_them(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "mine" / split).mkdir(parents=True)
        (tmp_path / "mine" / split / "annotations.json").write_text('{"images": []}')
    assert [entry.name for entry in resolve_splits(tmp_path / "mine")] == ["mine_test", "mine_train"]
    assert [entry.name for entry in resolve_splits("mine", root=tmp_path)] == ["mine_test", "mine_train"]
    assert [entry.name for entry in resolve_splits(tmp_path / "mine" / "train")] == ["train"]


def test_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(DataError, match=r"'totaltxt_train'.*did you mean totaltext_train"):
        resolve_dataset("totaltxt_train")
    assert "art_train" in known_datasets()
    with pytest.raises(DataError, match="known names: art_train"):
        resolve_dataset("qqqq")


def test_a_generated_dataset_says_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not at .*compact_validation yet; make it: fasttcm synth -n 500 --seed 2026"):
        load_dataset("compact_validation", root=tmp_path)


def test_missing_files_of_a_known_name_say_where_they_belong(tmp_path: Path) -> None:
    register_dataset("mine", "mine/a.json", "mine/images", source="https://example.org/mine")
    with pytest.raises(DataError, match=r"mine: annotation file expected at .*mine.a\.json.*example\.org"):
        load_dataset("mine", root=tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="image folder expected at"):
        load_dataset("mine", root=tmp_path)


def test_registering_twice_needs_the_same_entry() -> None:
    register_dataset("mine", "a.json")
    register_dataset("mine", "a.json")
    with pytest.raises(DataError, match="already registered"):
        register_dataset("mine", "b.json")
    with pytest.raises(DataError, match="published dataset"):
        register_dataset("totaltext_train", "b.json")


def test_a_registered_dataset_loads(write_dataset: Write, make_word: Word, tmp_path: Path) -> None:
    write_dataset([make_word(1)])
    register_dataset("mine", "annotations.json", "images", protocol="ctw1500", lexicons={"full": "words.txt"})
    entry = resolve_dataset("mine", root=tmp_path)
    assert entry.protocol == "ctw1500" and entry.lexicons == {"full": tmp_path / "words.txt"}
    dataset = load_dataset("mine", root=tmp_path)
    assert dataset.name == "mine" and dataset.num_words == 1


def test_a_folder_needs_no_registration(write_dataset: Write, make_word: Word, tmp_path: Path) -> None:
    write_dataset([make_word(1)])
    (tmp_path / "card.json").write_text(json.dumps({"protocol": "ctw1500", "lexicons": {"full": "words.txt"}}))
    entry = resolve_dataset(tmp_path)
    assert (entry.name, entry.protocol) == (tmp_path.name, "ctw1500")
    assert entry.lexicons == {"full": tmp_path / "words.txt"}
    assert load_dataset(tmp_path, strict=True).num_words == 1
    assert resolve_dataset(tmp_path.name, root=tmp_path.parent).annotation_file == tmp_path / "annotations.json"


def test_a_json_file_needs_no_registration(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1)])
    assert resolve_dataset(str(path)).protocol == "totaltext"
    assert load_dataset(path, strict=True)[0].file_path == path.parent / "images" / "1.png"


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not found: .*gone\.json"):
        resolve_dataset(tmp_path / "gone.json")
    with pytest.raises(DataError, match=r"no annotations\.json"):
        resolve_dataset(tmp_path)


def test_a_card_may_name_several_protocols_and_pair_files(write_dataset: Write, tmp_path: Path) -> None:
    write_dataset([])
    card = {
        "protocol": ["icdar2015", "mmocr"],
        "lexicons": {"weak": {"words": "w.txt", "pairs": "p.txt"}, "generic": {"words": "g.txt"}, "strong": "voc"},
    }
    (tmp_path / "card.json").write_text(json.dumps(card))
    entry = resolve_dataset(tmp_path)
    assert (entry.protocol, entry.more_protocols) == ("icdar2015", ("mmocr",))
    assert entry.lexicons == {"weak": tmp_path / "w.txt", "generic": tmp_path / "g.txt", "strong": tmp_path / "voc"}
    assert entry.lexicon_pairs == {"weak": tmp_path / "p.txt"}


@pytest.mark.parametrize(
    "card",
    [
        '{"protocol": 5}',
        '{"lexicons": {"full": {"words": "w", "pairs": "../p"}}}',
        "{",
        "[1]",
        '{"lexicons": 5}',
        '{"lexicons": {"full": "../../secret"}}',
    ],
)
def test_bad_card_is_named(write_dataset: Write, tmp_path: Path, card: str) -> None:
    write_dataset([])
    (tmp_path / "card.json").write_text(card)
    with pytest.raises(DataError, match=r"card\.json"):
        resolve_dataset(tmp_path)


README = Path(__file__).parents[2] / "datasets" / "README.md"


def test_the_example_of_the_readme_is_a_sound_dataset(tmp_path: Path) -> None:
    example = README.read_text().split("```json")[1].split("```")[0]
    (tmp_path / "annotations.json").write_text(example)
    (tmp_path / "images" / "street").mkdir(parents=True)
    (tmp_path / "images" / "street" / "0001.jpg").touch()
    targets = load_dataset(tmp_path, strict=True)[0].targets
    assert targets.texts == ["Bakery", "Pest", "###"] and targets.ignore.tolist() == [False, False, True]
