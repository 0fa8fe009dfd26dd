"""fasttcm inside detectron2: importing this registers our backbones, models and datasets there.

The only room that imports detectron2. It holds no model code: backbones become ``detectron2.modeling.Backbone``, our
heads become meta-architectures that take ``batched_inputs`` and return ``Instances``, our datasets stand in
``DatasetCatalog``.

    import fasttcm.d2
    from detectron2.config import get_cfg
    cfg = get_cfg()
    fasttcm.d2.add_fasttcm_config(cfg)
    cfg.MODEL.BACKBONE.NAME = "build_fasttcm_fpn_backbone"
"""

from fasttcm.d2.requirements import check_detectron2

check_detectron2()

from fasttcm.d2.backbones import D2Backbone  # noqa: E402 (detectron2 has to be there first)
from fasttcm.d2.checkpoint import TextCheckpointer  # noqa: E402
from fasttcm.d2.config import add_fasttcm_config, load_d2_config, to_fasttcm_config  # noqa: E402
from fasttcm.d2.datasets import register_dataset_path, register_datasets  # noqa: E402
from fasttcm.d2.evaluator import TextEvaluator  # noqa: E402
from fasttcm.d2.mapper import TextMapper  # noqa: E402
from fasttcm.d2.matching import with_matching_loss  # noqa: E402
from fasttcm.d2.meta_arch import FastTCMModel  # noqa: E402
from fasttcm.d2.register import register  # noqa: E402
from fasttcm.d2.trainer import TextTrainer  # noqa: E402

__all__ = [
    "D2Backbone",
    "FastTCMModel",
    "TextCheckpointer",
    "TextEvaluator",
    "TextMapper",
    "TextTrainer",
    "add_fasttcm_config",
    "load_d2_config",
    "register",
    "register_dataset_path",
    "register_datasets",
    "to_fasttcm_config",
    "with_matching_loss",
]

register()
