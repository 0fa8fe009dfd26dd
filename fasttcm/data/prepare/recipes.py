"""What ``fasttcm prepare`` knows about each dataset: its reader, where it comes from, how it is scored."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fasttcm.data.prepare.picture import Reader
from fasttcm.data.prepare.readers.adelaidet import read_adelaidet
from fasttcm.data.prepare.readers.coco_polygons import read_coco_polygons
from fasttcm.data.prepare.readers.common import OWN_SPLITS
from fasttcm.data.prepare.readers.csv_quads import read_csv_quads
from fasttcm.data.prepare.readers.ctw1500 import read_ctw1500
from fasttcm.data.prepare.readers.cvat import read_cvat
from fasttcm.data.prepare.readers.dota import DOTA15_CLASSES, DOTA_CLASSES, read_dota, read_dota15
from fasttcm.data.prepare.readers.icdar import read_icdar2013, read_icdar2015
from fasttcm.data.prepare.readers.labelme import read_labelme
from fasttcm.data.prepare.readers.lmdb_str import STR_SETS, read_lmdb, read_str
from fasttcm.data.prepare.readers.mlt import read_mlt2017, read_mlt2019
from fasttcm.data.prepare.readers.paddleocr import read_paddleocr
from fasttcm.data.prepare.readers.rects import read_rects
from fasttcm.data.prepare.readers.rrc_json import read_art, read_lsvt, read_nighttime_art
from fasttcm.data.prepare.readers.synthtext import read_synthtext
from fasttcm.data.prepare.readers.td500 import read_td500, read_tr400
from fasttcm.data.prepare.readers.textocr import read_cocotext, read_textocr
from fasttcm.data.prepare.readers.totaltext import read_totaltext
from fasttcm.data.prepare.readers.yolo_obb import read_yolo_obb, yolo_classes
from fasttcm.data.prepare.source import Source
from fasttcm.errors import DataError

__all__ = ["RECIPES", "LexiconFiles", "Recipe", "find_recipe"]

SEE_PUBLISHER = "see the publisher's page"


@dataclass(frozen=True)
class LexiconFiles:
    """A lexicon that a dataset ships, and how to find it in the source.

    Attributes:
        name: what the evaluation calls it: ``full``, ``weak``, ``generic`` or ``strong``.
        files: patterns of a word file and of the file with its spellings (``None``: there is none); of several such
            pairs the first whose word file is found counts.
        per_image: the patterns stand for one file an image, whose number is the last one in its name (strong).
        splits: the splits that are scored with it.
    """

    name: str
    files: tuple[tuple[str, str | None], ...]
    per_image: bool = False
    splits: tuple[str, ...] = ("test",)


@dataclass(frozen=True)
class Recipe:
    """One dataset of ``fasttcm prepare NAME``.

    Attributes:
        name: NAME.
        title: name in full.
        reader: reads one split; takes ``options`` as further keyword arguments. It raises
            :class:`~fasttcm.data.prepare.source.MissingSplitError`, a DataError, when the source holds nothing of one.
        splits: splits of the dataset; ``""`` is a set without splits, of which the files go directly to DST.
        license: licence or terms as published.
        source: the publisher's page.
        expected: one line: the files expected in SRC.
        protocol: evaluation protocol, or several.
        images: published number of images by split; empty for a format of one's own.
        options: which of :data:`~fasttcm.data.prepare.options.READER_OPTIONS` the reader takes.
        lexicons: lexicons that the dataset ships.
        categories: class names in the order of their ids, or what reads them from the source; a class that is not
            listed is appended.
    """

    name: str
    title: str
    reader: Reader
    splits: tuple[str, ...]
    license: str
    source: str
    expected: str
    protocol: str | tuple[str, ...] = "totaltext"
    images: Mapping[str, int] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    lexicons: tuple[LexiconFiles, ...] = ()
    categories: tuple[str, ...] | Callable[[Source], tuple[str, ...]] = ("text",)


_PUBLISHED: tuple[Recipe, ...] = (
    Recipe(
        name="totaltext",
        title="Total-Text",
        reader=read_totaltext,
        splits=("train", "test"),
        license="non-commercial academic research (the publisher's DATASET_TERMS.md); the images are their owners'",
        source="https://github.com/cs-chan/Total-Text-Dataset",
        expected="totaltext.zip (Images/Train, Images/Test), txt_format.zip or groundtruth_text.zip (Polygon/...)",
        protocol=("totaltext", "mmocr"),
        images={"train": 1255, "test": 300},
        options=("rectangles",),
        lexicons=(
            LexiconFiles(
                "full", (("weak_voc_new.txt", "weak_voc_pair_list.txt"), ("tt_lexicon.txt", "tt_pair_list.txt"))
            ),
        ),
    ),
    Recipe(
        name="ctw1500",
        title="SCUT-CTW1500",
        reader=read_ctw1500,
        splits=("train", "test"),
        license=SEE_PUBLISHER,
        source="https://github.com/Yuliang-Liu/Curve-Text-Detector",
        expected="train_images, ctw1500_train_labels (0001.xml ..), test_images, gt_ctw1500 (0001001.txt ..)",
        protocol=("ctw1500", "mmocr"),
        images={"train": 1000, "test": 500},
        lexicons=(
            # Its evaluators read no pair list: an entry stands for itself.
            LexiconFiles("full", (("weak_voc_new.txt", None), ("ctw1500[-_]lexicon.txt", None))),
        ),
    ),
    Recipe(
        name="icdar2013",
        title="ICDAR 2013 Focused Scene Text",
        reader=read_icdar2013,
        splits=("train", "test"),
        license=SEE_PUBLISHER,
        source="https://rrc.cvc.uab.es/?ch=2",
        expected="Challenge2_{Training,Test}_Task12_Images, Challenge2_{Training,Test}_Task1_GT",
        protocol=("icdar2015", "mmocr"),
        images={"train": 229, "test": 233},
    ),
    Recipe(
        name="icdar2015",
        title="ICDAR 2015 Incidental Scene Text",
        reader=read_icdar2015,
        splits=("train", "test"),
        license=SEE_PUBLISHER,
        source="https://rrc.cvc.uab.es/?ch=4",
        expected="ch4_{training,test}_images, ch4_training_localization_transcription_gt, Challenge4_Test_Task1_GT",
        protocol=("icdar2015", "mmocr"),
        images={"train": 1000, "test": 500},
        lexicons=(
            LexiconFiles(
                "strong",
                (("new_voc_img_*.txt", "pair_voc_img_*.txt"), ("voc_img_*.txt", None)),
                per_image=True,
            ),
            LexiconFiles(
                "weak",
                (
                    ("ch4_test_vocabulary_new.txt", "ch4_test_vocabulary_pair_list.txt"),
                    ("ch4_test_vocabulary.txt", None),
                ),
            ),
            LexiconFiles(
                "generic",
                (
                    ("GenericVocabulary_new.txt", "GenericVocabulary_pair_list.txt"),
                    ("GenericVocabulary.txt", None),
                ),
            ),
        ),
    ),
    Recipe(
        name="mlt2017",
        title="ICDAR 2017 MLT",
        reader=read_mlt2017,
        splits=("train", "val"),
        license=SEE_PUBLISHER,
        source="https://rrc.cvc.uab.es/?ch=8",
        expected="ch8_training_images_1 .. _8, ch8_validation_images, ch8_*_localization_transcription_gt_v2",
        protocol=("icdar2015", "mmocr"),
        images={"train": 7200, "val": 1800},
        options=("latin_only",),
    ),
    Recipe(
        name="mlt2019",
        title="ICDAR 2019 MLT",
        reader=read_mlt2019,
        splits=("train",),
        license=SEE_PUBLISHER,
        source="https://rrc.cvc.uab.es/?ch=15",
        expected="ImagesPart1, ImagesPart2, train_gt_t13 (tr_img_00001.txt ..)",
        protocol=("icdar2015", "mmocr"),
        images={"train": 10000},
        options=("latin_only",),
    ),
    Recipe(
        name="td500",
        title="MSRA-TD500",
        reader=read_td500,
        splits=("train", "test"),
        license=SEE_PUBLISHER,
        source="http://www.iapr-tc11.org/mediawiki/index.php/MSRA_Text_Detection_500_Database_(MSRA-TD500)",
        expected="MSRA-TD500: train/IMG_*.JPG and .gt, test/IMG_*.JPG and .gt",
        protocol=("mmocr", "db"),
        images={"train": 300, "test": 200},
    ),
    Recipe(
        name="tr400",
        title="HUST-TR400",
        reader=read_tr400,
        splits=("train",),
        license=SEE_PUBLISHER,
        source="http://mclab.eic.hust.edu.cn/",
        expected="HUST-TR400: *.jpg and *.gt (folder or archive with TR400 in its name)",
        protocol=("mmocr", "db"),
        images={"train": 400},
    ),
    Recipe(
        name="synthtext",
        title="SynthText in the Wild",
        reader=read_synthtext,
        splits=("train",),
        license="non-commercial research and education; see the publisher's page",
        source="https://www.robots.ox.ac.uk/~vgg/data/scenetext/",
        expected="SynthText.zip or its folder: gt.mat and the folders 1 .. 200",
        images={"train": 858750},
    ),
    Recipe(
        name="art",
        title="ICDAR 2019 ArT",
        reader=read_art,
        splits=("train",),
        license=SEE_PUBLISHER,
        source="https://rrc.cvc.uab.es/?ch=14",
        expected="train_images (gt_0.jpg ..), train_labels.json",
        protocol=("custom", "mmocr"),
        images={"train": 5603},
    ),
    Recipe(
        name="nighttime_art",
        title="NightTime-ArT (pictures of ArT by night)",
        reader=read_nighttime_art,
        splits=("",),
        license=SEE_PUBLISHER,
        source="https://github.com/wenwenyu/TCM",
        expected="ArT's train_images and train_labels.json, and with --ids a text file of the subset's picture ids",
        protocol=("mmocr", "custom"),
        images={"": 326},
        options=("ids",),
    ),
    Recipe(
        name="lsvt",
        title="ICDAR 2019 LSVT, fully annotated part",
        reader=read_lsvt,
        splits=("train",),
        license=SEE_PUBLISHER,
        source="https://rrc.cvc.uab.es/?ch=16",
        expected="train_full_images_0, train_full_images_1 (gt_0.jpg ..), train_full_labels.json",
        protocol=("custom", "mmocr"),
        images={"train": 30000},
    ),
    Recipe(
        name="rects",
        title="ICDAR 2019 ReCTS",
        reader=read_rects,
        splits=("train",),
        license=SEE_PUBLISHER,
        source="https://rrc.cvc.uab.es/?ch=12",
        expected="ReCTS.zip or its folder: train/img (train_ReCTS_000001.jpg ..), train/gt_unicode or train/gt",
        protocol=("custom", "mmocr"),
        images={"train": 20000},
    ),
    Recipe(
        name="textocr",
        title="TextOCR",
        reader=read_textocr,
        splits=("train", "val"),
        license="annotations CC BY 4.0; images of Open Images, see the publisher's page",
        source="https://textvqa.org/textocr/dataset/",
        expected="TextOCR_0.1_train.json, TextOCR_0.1_val.json, train_val_images.zip (train_images/<id>.jpg)",
        protocol=("custom", "mmocr"),
        images={"train": 21778, "val": 3124},
    ),
    Recipe(
        name="cocotext",
        title="COCO-Text v2",
        reader=read_cocotext,
        splits=("train", "val"),
        license="annotations CC BY 4.0; images of MS COCO, see the publisher's page",
        source="https://bgshih.github.io/cocotext/",
        expected="cocotext.v2.json (or .zip), train2014.zip of MS COCO",
        protocol=("custom", "mmocr"),
        images={"train": 43686, "val": 10000},
    ),
    Recipe(
        name="dota",
        title="DOTA v1.0",
        reader=read_dota,
        splits=("train", "val", "test"),
        license="academic purposes only, no commercial use; images of Google Earth under its terms",
        source="https://captain-whu.github.io/DOTA/dataset.html",
        expected="{train,val,test}/images (P0000.png ..), {train,val}/labelTxt (P0000.txt ..), folders or archives",
        protocol="dota1.0",
        options=("tile_size", "tile_overlap", "no_tiles"),
        categories=DOTA_CLASSES,
    ),
    Recipe(
        name="dota15",
        title="DOTA v1.5",
        reader=read_dota15,
        splits=("train", "val", "test"),
        license="academic purposes only, no commercial use; images of Google Earth under its terms",
        source="https://captain-whu.github.io/DOTA/dataset.html",
        expected="{train,val,test}/images (P0000.png ..), {train,val}/labelTxt-v1.5/DOTA-v1.5_{train,val}",
        protocol="dota1.5",
        options=("tile_size", "tile_overlap", "no_tiles"),
        categories=DOTA15_CLASSES,
    ),
    Recipe(
        name="str",
        title="Recognition benchmarks (word crops)",
        reader=read_str,
        splits=STR_SETS,
        license=SEE_PUBLISHER,
        source="https://github.com/baudm/parseq",
        expected="folders IIIT5k, SVT, IC13_857, IC15_1811, SVTP, CUTE80, .. with data.mdb (LMDB), unpacked",
        protocol="recognition",
        images={
            "IIIT5k": 3000,
            "SVT": 647,
            "IC13_857": 857,
            "IC13_1015": 1015,
            "IC15_1811": 1811,
            "IC15_2077": 2077,
            "SVTP": 645,
            "CUTE80": 288,
            "ArT": 35149,
            "COCOv1.4": 9825,
            "Uber": 80551,
        },
    ),
    Recipe(
        name="adelaidet",
        title="JSON of AdelaiDet, DeepSolo or TESTR",
        reader=read_adelaidet,
        splits=OWN_SPLITS,
        license=SEE_PUBLISHER,
        source="https://github.com/aim-uofa/AdelaiDet",
        expected="a JSON with bezier_pts or polys and rec (train.json, test.json, ..) and its pictures, or that JSON",
        options=("annotations", "charset"),
    ),
)
"""Datasets of the field, as published."""

_OWN_FORMATS: tuple[Recipe, ...] = (
    Recipe(
        name="labelme",
        title="labelme",
        reader=read_labelme,
        splits=OWN_SPLITS,
        license="",
        source="",
        expected="a JSON for each picture, beside it",
        protocol=("custom", "mmocr"),
    ),
    Recipe(
        name="cvat",
        title="CVAT for images 1.1",
        reader=read_cvat,
        splits=OWN_SPLITS,
        license="",
        source="",
        expected="annotations.xml and the pictures, or the archive that CVAT exports",
        protocol=("custom", "mmocr"),
    ),
    Recipe(
        name="coco_polygons",
        title="COCO polygons",
        reader=read_coco_polygons,
        splits=OWN_SPLITS,
        license="",
        source="",
        expected="a JSON with images and annotations (segmentation, text) and the pictures, or that JSON",
        protocol=("custom", "mmocr"),
        options=("annotations",),
    ),
    Recipe(
        name="paddleocr",
        title="PaddleOCR label file",
        reader=read_paddleocr,
        splits=OWN_SPLITS,
        license="",
        source="",
        expected="Label.txt (or train_label.txt, test_label.txt) and the pictures",
        protocol=("custom", "mmocr"),
        options=("annotations",),
    ),
    Recipe(
        name="yolo_obb",
        title="YOLO-OBB",
        reader=read_yolo_obb,
        splits=OWN_SPLITS,
        license="",
        source="",
        expected="images/ and labels/ (images/train, labels/train, ..), data.yaml with the names of the classes",
        protocol="mmocr",
        categories=yolo_classes,
    ),
    Recipe(
        name="csv_quads",
        title="CSV of quadrilaterals",
        reader=read_csv_quads,
        splits=OWN_SPLITS,
        license="",
        source="",
        expected="a .csv or .tsv with the columns image, x1, y1, .., x4, y4, text, and the pictures",
        protocol=("custom", "mmocr"),
        options=("annotations",),
    ),
    Recipe(
        name="lmdb",
        title="Word crops in LMDB",
        reader=read_lmdb,
        splits=("",),
        license="",
        source="",
        expected="one or several folders with data.mdb (keys num-samples, image-%09d, label-%09d)",
        protocol="recognition",
    ),
)
"""Formats of annotation tools, for one's own pictures."""

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*_PUBLISHED, *_OWN_FORMATS)}
"""Every NAME of ``fasttcm prepare``."""


def find_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        DataError: unknown; the message has the nearest known names.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), RECIPES, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"known names: {', '.join(sorted(RECIPES))}"
    raise DataError(f"unknown dataset {name!r}; {hint}")
