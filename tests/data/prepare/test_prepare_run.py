"""The whole command in Python: splits, cards, lexicons, options, and results that are used by name or path."""

import hashlib
import inspect
import json
import zipfile
from pathlib import Path

import pytest
from prepare_samples import image_bytes, index_of

from fasttcm.data.catalog import load_dataset, resolve_dataset
from fasttcm.data.prepare.options import READER_OPTIONS
from fasttcm.data.prepare.recipes import RECIPES, find_recipe
from fasttcm.data.prepare.run import prepare_dataset
from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation.lexicon_files import load_lexicon

LINE = "10,10,40,10,40,20,10,20,{}\n"
SOURCE = {
    "ch4_test_images/img_1.jpg": image_bytes(),
    "ch4_test_images/img_2.jpg": image_bytes(),
    "Challenge4_Test_Task1_GT/gt_img_1.txt": "\ufeff" + LINE.format("Shop") + LINE.format("###"),
    "Challenge4_Test_Task1_GT/gt_img_2.txt": LINE.format("a, b"),
}
TRAIN = {
    "ch4_training_images/img_1.jpg": image_bytes(),
    "ch4_training_localization_transcription_gt/gt_img_1.txt": LINE.format("train"),
}


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_source_with_one_split(write_source, tmp_path: Path) -> None:
    train, test = prepare_dataset("icdar2015", write_source(SOURCE), tmp_path / "icdar2015")
    assert (
        train.missing and train.path is None and sorted(p.name for p in (tmp_path / "icdar2015").iterdir()) == ["test"]
    )
    assert test.path == tmp_path / "icdar2015/test/annotations.json" and not test.missing
    dataset = load_dataset(tmp_path / "icdar2015/test", strict=True)
    assert (len(dataset), dataset.num_words) == (2, 3)
    assert [dataset[i].targets.texts for i in (0, 1)] == [["Shop", "###"], ["a, b"]]
    assert [dataset[i].image_id for i in (0, 1)] == [1, 2]


def test_both_splits_and_equal_bytes_when_run_again(write_source, tmp_path: Path) -> None:
    source, out = write_source(SOURCE | TRAIN), tmp_path / "out"
    prepare_dataset("icdar2015", source, out)
    first = files_below(out)
    assert {"train/annotations.json", "train/card.json", "test/annotations.json", "test/card.json"} <= first.keys()
    prepare_dataset("icdar2015", source, out)
    assert files_below(out) == first
    prepare_dataset("icdar2015", source, tmp_path / "elsewhere")
    assert files_below(tmp_path / "elsewhere") == first, "nothing of the machine is written"
    prepare_dataset("icdar2015", source, tmp_path / "one", splits=["train"])
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["train"]


def test_the_same_from_archives(write_source, tmp_path: Path) -> None:
    plain = prepare_dataset("icdar2015", write_source(SOURCE), tmp_path / "plain")[1]
    packed = tmp_path / "packed"
    packed.mkdir()
    for folder in ("ch4_test_images", "Challenge4_Test_Task1_GT"):
        with zipfile.ZipFile(packed / f"{folder}.zip", "w") as archive:
            for name, content in SOURCE.items():
                if name.startswith(folder):
                    archive.writestr(name.rpartition("/")[2], content)
    result = prepare_dataset("icdar2015", packed, tmp_path / "out")[1]
    assert result.path.read_bytes() == plain.path.read_bytes()
    assert files_below(tmp_path / "out/test/images") == {f"img_{i}.jpg": image_bytes() for i in (1, 2)}
    assert len(load_dataset(tmp_path / "out/test", strict=True)) == 2


def test_the_card(write_source, tmp_path: Path) -> None:
    source = write_source(SOURCE | {"Challenge4_Test_Task1_GT/gt_img_2.txt": LINE.format("x") + "1,2\n"})
    result = prepare_dataset("icdar2015", source, tmp_path / "out", verify=True)[1]
    card = json.loads((tmp_path / "out/test/card.json").read_text())
    assert card == result.card and str(tmp_path) not in json.dumps(card)
    assert card["name"] == "icdar2015_test" and card["source"].startswith("https://") and card["license"]
    assert card["counts"] == {
        "images": 2, "published_images": 500, "words": 3, "ignored": 1, "words_by_points": {"4": 3},
    }  # fmt: skip
    assert sum(card["problems"].values()) == 1 and card["options"]["verify"] is True
    assert card["bezier_residual_pixels"] == {"median": 0.0, "percentile_99": 0.0, "largest": 0.0}
    digest = hashlib.sha256((tmp_path / "out/test/annotations.json").read_bytes()).hexdigest()
    assert card["sha256"] == {"annotations.json": digest}
    entry = resolve_dataset(tmp_path / "out/test")
    assert (entry.protocol, entry.more_protocols, entry.source) == ("icdar2015", ("mmocr",), card["source"])


LEXICONS = {
    "lexicons/GenericVocabulary_new.txt": "shop\nword\n",
    "lexicons/GenericVocabulary_pair_list.txt": "SHOP Shop\nWORD word\n",
    "lexicons/ch4_test_vocabulary.txt": "\ufeffShop\r\nCAFÉ\r\n".encode("utf-16"),
    "lexicons/ch4_training_vocabulary.txt": "train\n",
    "lexicons/new_strong_lexicon/new_voc_img_1.txt": "Shop\n",
    "lexicons/new_strong_lexicon/pair_voc_img_1.txt": "SHOP Shop!\n",
    "lexicons/new_strong_lexicon/new_voc_img_2.txt": "a,b\n",
    "lexicons/new_strong_lexicon/pair_voc_img_2.txt": "A,B a,b\n",
}


def test_lexicons_are_found_and_laid_out_as_the_evaluation_reads_them(write_source, tmp_path: Path) -> None:
    prepare_dataset("icdar2015", write_source(SOURCE | TRAIN | LEXICONS), tmp_path / "out")
    entry = resolve_dataset(tmp_path / "out/test")
    assert sorted(entry.lexicons) == ["generic", "strong", "weak"] and sorted(entry.lexicon_pairs) == ["generic"]
    generic = load_lexicon(entry.lexicons["generic"], entry.lexicon_pairs["generic"], kind="generic")
    assert generic.spellings == ["Shop", "word"]
    assert load_lexicon(entry.lexicons["weak"], kind="weak").spellings == ["Shop", "CAFÉ"]
    strong = load_lexicon(entry.lexicons["strong"], kind="strong", image_ids=[1, 2])
    assert {key: lexicon.spellings for key, lexicon in strong.items()} == {"1": ["Shop!"], "2": ["a,b"]}
    assert resolve_dataset(tmp_path / "out/train").lexicons == {}
    folder = tmp_path / "out/test/lexicons"
    assert load_lexicon(folder, kind="generic").spellings == ["Shop", "word"], "the published names are kept"


def test_strong_lexicons_as_the_organisers_offer_them(write_source, tmp_path: Path) -> None:
    files = {f"ch4_test_vocabularies_per_image/voc_img_{i}.txt": f"WORD{i}\r\n" for i in (1, 2)}
    files["ch4_training_vocabularies_per_image/voc_img_1.txt"] = "TRAIN\n"
    prepare_dataset("icdar2015", write_source(SOURCE | files), tmp_path / "out")
    strong = load_lexicon(resolve_dataset(tmp_path / "out/test").lexicons["strong"], kind="strong", image_ids=[1, 2])
    assert {key: lexicon.spellings for key, lexicon in strong.items()} == {"1": ["WORD1"], "2": ["WORD2"]}


def test_strict_fails_with_the_place_and_writes_nothing(write_source, tmp_path: Path) -> None:
    source = write_source(SOURCE | {"Challenge4_Test_Task1_GT/gt_img_2.txt": "1,2,x\n"})
    with pytest.raises(DataError, match=r"gt_img_2\.txt:1: "):
        prepare_dataset("icdar2015", source, tmp_path / "out", strict=True)
    assert files_below(tmp_path / "out") == {}
    assert len(prepare_dataset("icdar2015", source, tmp_path / "out")[1].problems) == 1


def test_readers_options(write_source, tmp_path: Path) -> None:
    source = write_source(
        {
            "train_gt_t13/tr_img_00001.txt": LINE.format("Latin,a") + LINE.format("Korean,한"),
            "ImagesPart1/tr_img_00001.jpg": image_bytes(),
        }
    )
    for options, ignored in (({}, 0), ({"latin_only": True}, 1)):
        (result,) = prepare_dataset("mlt2019", source, tmp_path / "out", options=options)
        assert result.figures.ignored == ignored and result.card["options"].get("latin_only") is options.get(
            "latin_only"
        )
    assert len(index_of(tmp_path / "out/train")[1]) == 2


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("icdar2051", {}, DataError, "did you mean icdar2015"),
        ("nothing", {}, DataError, "known names: "),
        ("icdar2015", {"splits": ["val"]}, ConfigError, "no split 'val'"),
        ("icdar2015", {"splits": ["train"]}, DataError, "no split 'train' of ICDAR 2015"),
        ("icdar2015", {"options": {"latin_only": True}}, ConfigError, "no option --latin-only"),
        ("icdar2015", {"order": "random"}, ConfigError, "random"),
        ("icdar2015", {"images": "move"}, ConfigError, "move"),
        ("synthtext", {}, DataError, r"nothing of SynthText.*gt\.mat"),
    ],
)
def test_mistakes(name: str, arguments, error, message: str, write_source, tmp_path: Path) -> None:
    with pytest.raises(error, match=message) as caught:
        prepare_dataset(name, write_source(SOURCE), tmp_path / "out", **arguments)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_a_destination_that_would_do_harm(write_source, tmp_path: Path) -> None:
    source = write_source(SOURCE)
    for inside in (source, source / "out"):
        with pytest.raises(DataError, match="inside the source"):
            prepare_dataset("icdar2015", source, inside)
    taken = tmp_path / "taken"
    (taken / "test").mkdir(parents=True)
    (taken / "test/annotations.json").write_text("{}")
    with pytest.raises(DataError, match="holds another dataset"):
        prepare_dataset("icdar2015", source, taken)
    assert (taken / "test/annotations.json").read_text() == "{}"
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        prepare_dataset("icdar2015", source, tmp_path / "file")


def test_every_recipe_is_complete() -> None:
    for name, recipe in RECIPES.items():
        assert find_recipe(name) is recipe and recipe.title and recipe.expected and "\n" not in recipe.expected
        parameters = inspect.signature(recipe.reader).parameters
        own = set(parameters) - {"source", "split", "problems"}
        assert own == set(recipe.options) <= set(READER_OPTIONS), name
        assert set(recipe.images) <= set(recipe.splits), name
        if any(recipe.splits):
            assert not recipe.images or (recipe.license and recipe.source.startswith("http")), name


def test_a_destination_that_cannot_be_written(write_source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fasttcm.data.prepare.rows.tempfile.TemporaryFile", full)
    with pytest.raises(DataError, match=r"out/test: cannot be read or written \(No space left on device\)"):
        prepare_dataset("icdar2015", write_source(SOURCE), tmp_path / "out")
