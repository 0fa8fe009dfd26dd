"""Names of the published datasets, and where their files are under the datasets root.

A name stands first for the folder that ``fasttcm prepare`` writes, then for the files in the layouts that AdelaiDet
(SPEC ``abcnet`` section 13.2), DeepSolo (SPEC ``deepsolo`` section 15) and TESTR train from.
"""

from dataclasses import dataclass

__all__ = ["BUILTIN_DATASETS", "MODELS_OWN", "BuiltinDataset", "Place"]


MODELS_OWN = ""
"""The Chinese sets are numbered by a file of 5461 characters, which the models trained on them read with."""


@dataclass(frozen=True)
class Place:
    """An annotation file and its image folder, relative to the datasets root.

    Attributes:
        annotation_file: the JSON.
        image_root: the folder.
        rec: charset that the numbers of ``rec`` stand for; :data:`MODELS_OWN` for the file that the model reads with.
    """

    annotation_file: str
    image_root: str
    rec: str = "ascii"


@dataclass(frozen=True)
class BuiltinDataset:
    """What a name stands for.

    Attributes:
        recipe: NAME of ``fasttcm prepare`` that writes it; the recipe knows licence and publisher.
        folder: the prepared dataset.
        places: where else it may be; the first that exists counts.
        protocol: evaluation protocol where no card says it.
        source: the publisher's page, where it is not the recipe's.
        command: what makes it where nobody publishes it; the folder follows.
    """

    recipe: str
    folder: str
    places: tuple[Place, ...] = ()
    protocol: str = "custom"
    source: str = ""
    command: str = ""


PREPARED: dict[str, tuple[str, ...]] = {
    "icdar2013": ("test",),
    "mlt2017": ("train", "val"),
    "mlt2019": ("train",),
    "td500": ("train", "test"),
    "tr400": ("train",),
    "synthtext": ("train",),
    "textocr": ("train", "val"),
    "cocotext": ("train", "val"),
    "dota": ("train", "val", "test"),
    "dota15": ("train", "val", "test"),
    "str": (
        "IIIT5k",
        "SVT",
        "IC13_857",
        "IC13_1015",
        "IC15_1811",
        "IC15_2077",
        "SVTP",
        "CUTE80",
        "ArT",
        "COCOv1.4",
        "Uber",
    ),
}
"""Datasets and splits that nobody else offers in a layout of their own: ``<dataset>_<split>``."""

ADELAIDET = "https://github.com/aim-uofa/AdelaiDet/tree/master/datasets"
DEEPSOLO = "https://github.com/ViTAE-Transformer/DeepSolo"
INVERSE_TEXT = "https://github.com/ymy-k/DPText-DETR"


def _variants(stem: str, images: str) -> tuple[Place, ...]:
    """AdelaiDet's JSON, TESTR's with polygons, DeepSolo's with 96 and 37 classes (which has no capitals)."""
    return (
        Place(f"{stem}.json", images),
        Place(f"{stem}_poly.json", images),
        Place(f"{stem}_96voc.json", images),
        Place(f"{stem}_37voc.json", images, "lower36"),
    )


def _rects(split: str, recipe: str) -> BuiltinDataset:
    place = Place(f"ReCTS/annotations/rects_{split}.json", f"ReCTS/ReCTS_{split}_images", MODELS_OWN)
    return BuiltinDataset(recipe, f"rects/{split}", (place,), "custom", "" if recipe == "rects" else ADELAIDET)


def _syntext(number: int) -> BuiltinDataset:
    places = _variants(f"syntext{number}/annotations/train", f"syntext{number}/images")
    return BuiltinDataset("adelaidet", f"syntext150k_{number}/train", places, "totaltext", ADELAIDET)


def _textocr(number: int) -> BuiltinDataset:
    images = f"textocr/train_images_{number}"
    places = (
        Place(f"textocr/train_96voc_{number}.json", images),
        Place(f"textocr/train_37voc_{number}.json", images, "lower36"),
    )
    return BuiltinDataset("adelaidet", f"textocr_{number}/train", places, "totaltext", DEEPSOLO)


COMPACT_VALIDATION = (
    "fasttcm synth -n 500 --seed 2026 --preset photo --split validation --fonts /usr/share/fonts "
    "--vocabulary /usr/share/dict/american-english"
)
"""The pictures that the shipped model is scored on (docs/compact.md), after the packages of docs/synthetic.md."""

_DATASETS: dict[str, BuiltinDataset] = {
    "compact_validation": BuiltinDataset("", "compact_validation", (), "totaltext", command=COMPACT_VALIDATION),
    "totaltext_train": BuiltinDataset(
        "totaltext", "totaltext/train", _variants("totaltext/train", "totaltext/train_images"), "totaltext"
    ),
    "totaltext_test": BuiltinDataset(
        "totaltext", "totaltext/test", _variants("totaltext/test", "totaltext/test_images"), "totaltext"
    ),
    "ctw1500_train": BuiltinDataset(
        "ctw1500",
        "ctw1500/train",
        (
            Place("CTW1500/annotations/train_ctw1500_maxlen100_v2.json", "CTW1500/ctwtrain_text_image"),
            Place("CTW1500/annotations/train_poly.json", "CTW1500/ctwtrain_text_image"),
            Place("CTW1500/train_96voc.json", "CTW1500/train_images"),
        ),
        "ctw1500",
    ),
    "ctw1500_test": BuiltinDataset(
        "ctw1500",
        "ctw1500/test",
        (
            Place("CTW1500/annotations/test_ctw1500_maxlen100.json", "CTW1500/ctwtest_text_image"),
            Place("CTW1500/annotations/test_poly.json", "CTW1500/ctwtest_text_image"),
            Place("CTW1500/test.json", "CTW1500/test_images"),
        ),
        "ctw1500",
    ),
    "icdar2013_train": BuiltinDataset(
        "icdar2013",
        "icdar2013/train",
        (Place("icdar2013/ic13_train.json", "icdar2013/train_images"), *_variants("ic13/train", "ic13/train_images")),
        "totaltext",
    ),
    "icdar2015_train": BuiltinDataset(
        "icdar2015",
        "icdar2015/train",
        (Place("icdar2015/ic15_train.json", "icdar2015/train_images"), *_variants("ic15/train", "ic15/train_images")),
        "icdar2015",
    ),
    "icdar2015_test": BuiltinDataset(
        "icdar2015",
        "icdar2015/test",
        (Place("icdar2015/ic15_test.json", "icdar2015/test_images"), Place("ic15/test.json", "ic15/test_images")),
        "icdar2015",
    ),
    "mlt2017_latin_train": BuiltinDataset(
        "adelaidet",
        "mlt2017_latin/train",
        (*_variants("mlt2017/annotations/train", "mlt2017/images"), *_variants("mlt2017/train", "mlt2017/images")),
        "totaltext",
        ADELAIDET,
    ),
    "syntext150k_1": _syntext(1),
    "syntext150k_2": _syntext(2),
    "textocr_1": _textocr(1),
    "textocr_2": _textocr(2),
    "art_train": BuiltinDataset(
        "art",
        "art/train",
        (Place("ArT/annotations/abcnet_art_train.json", "ArT/rename_artimg_train", MODELS_OWN),),
        "custom",
    ),
    "nighttime_art": BuiltinDataset("nighttime_art", "nighttime_art", (), "mmocr"),
    "lsvt_train": BuiltinDataset(
        "lsvt",
        "lsvt/train",
        (Place("LSVT/annotations/abcnet_lsvt_train.json", "LSVT/rename_lsvtimg_train", MODELS_OWN),),
        "custom",
    ),
    "rects_train": _rects("train", "rects"),
    "rects_val": _rects("val", "adelaidet"),
    "rects_test": _rects("test", "adelaidet"),
    "chnsyn_train": BuiltinDataset(
        "adelaidet",
        "chnsyn/train",
        (Place("ChnSyn/annotations/chn_syntext.json", "ChnSyn/syn_130k_images", MODELS_OWN),),
        "custom",
        ADELAIDET,
    ),
    "inversetext_test": BuiltinDataset(
        "adelaidet",
        "inversetext/test",
        (Place("inversetext/test.json", "inversetext/test_images"),),
        "totaltext",
        INVERSE_TEXT,
    ),
} | {
    f"{dataset}_{split}": BuiltinDataset(dataset, f"{dataset}/{split}")
    for dataset, splits in PREPARED.items()
    for split in splits
}

ALIASES: dict[str, str] = {
    "totaltext_val": "totaltext_test",
    "ctw1500_word_train": "ctw1500_train",
    "ctw1500_word_test": "ctw1500_test",
    "syntext1_train": "syntext150k_1",
    "syntext2_train": "syntext150k_2",
    "mltbezier_word_train": "mlt2017_latin_train",
    "synthtext": "synthtext_train",
    "syntext1": "syntext150k_1",
    "syntext2": "syntext150k_2",
    "mlt": "mlt2017_latin_train",
    "ic13_train": "icdar2013_train",
    "ic15_train": "icdar2015_train",
    "ic15_test": "icdar2015_test",
    "textocr1": "textocr_1",
    "textocr2": "textocr_2",
}
"""AdelaiDet's and DeepSolo's names of the same datasets. DeepSolo's names of its 96-class files end in ``_96voc``."""

WITH_96_CLASSES = (
    "syntext1",
    "syntext2",
    "mlt",
    "totaltext_train",
    "ic13_train",
    "ic15_train",
    "textocr1",
    "textocr2",
    "ctw1500_train",
)

BUILTIN_DATASETS: dict[str, BuiltinDataset] = (
    _DATASETS
    | {alias: _DATASETS[name] for alias, name in ALIASES.items()}
    | {f"{name}_96voc": _DATASETS[ALIASES.get(name, name)] for name in WITH_96_CLASSES}
)
"""Every name."""
