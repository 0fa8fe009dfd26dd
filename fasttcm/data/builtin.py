"""Names and places of the published datasets, as AdelaiDet registers them (SPEC ``abcnet`` section 13.2)."""

__all__ = ["BUILTIN_DATASETS"]

TOTALTEXT = "totaltext"
CTW1500 = "ctw1500"
ICDAR2015 = "icdar2015"

BUILTIN_DATASETS: tuple[tuple[str, str, str, str], ...] = (
    ("totaltext_train", "totaltext/train.json", "totaltext/train_images", TOTALTEXT),
    ("totaltext_val", "totaltext/test.json", "totaltext/test_images", TOTALTEXT),
    (
        "ctw1500_word_train",
        "CTW1500/annotations/train_ctw1500_maxlen100_v2.json",
        "CTW1500/ctwtrain_text_image",
        CTW1500,
    ),
    ("ctw1500_word_test", "CTW1500/annotations/test_ctw1500_maxlen100.json", "CTW1500/ctwtest_text_image", CTW1500),
    ("syntext1_train", "syntext1/annotations/train.json", "syntext1/images", TOTALTEXT),
    ("syntext2_train", "syntext2/annotations/train.json", "syntext2/images", TOTALTEXT),
    ("mltbezier_word_train", "mlt2017/annotations/train.json", "mlt2017/images", TOTALTEXT),
    ("icdar2013_train", "icdar2013/ic13_train.json", "icdar2013/train_images", TOTALTEXT),
    ("icdar2015_train", "icdar2015/ic15_train.json", "icdar2015/train_images", ICDAR2015),
    ("icdar2015_test", "icdar2015/ic15_test.json", "icdar2015/test_images", ICDAR2015),
    ("rects_train", "ReCTS/annotations/rects_train.json", "ReCTS/ReCTS_train_images", TOTALTEXT),
    ("rects_val", "ReCTS/annotations/rects_val.json", "ReCTS/ReCTS_val_images", TOTALTEXT),
    ("rects_test", "ReCTS/annotations/rects_test.json", "ReCTS/ReCTS_test_images", TOTALTEXT),
    ("art_train", "ArT/annotations/abcnet_art_train.json", "ArT/rename_artimg_train", TOTALTEXT),
    ("lsvt_train", "LSVT/annotations/abcnet_lsvt_train.json", "LSVT/rename_lsvtimg_train", TOTALTEXT),
    ("chnsyn_train", "ChnSyn/annotations/chn_syntext.json", "ChnSyn/syn_130k_images", TOTALTEXT),
)
"""Rows (name, annotation file, image folder, evaluation protocol); paths under the datasets root."""
