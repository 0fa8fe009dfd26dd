"""The Python API: pictures in, words out.

from fasttcm import Spotter
spotter = Spotter()  # or Spotter("output/demo/train/model_final.safetensors")
words = spotter("photo.jpg")
print(words.texts, words.polygons)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import nn

from fasttcm.config import apply_overrides
from fasttcm.data.images import read_image
from fasttcm.data.mapper import TestMapper
from fasttcm.engine.build import build_model, build_test_mapper, resolve_device
from fasttcm.engine.checkpoint import DEFAULT_MODEL, check_same_inputs, load_weights, read_checkpoint
from fasttcm.errors import CheckpointError, ImageError
from fasttcm.structures import TextPredictions

__all__ = ["ImageLike", "Spotter"]

ImageLike = str | Path | bytes | npt.NDArray[np.uint8] | Image.Image
"""A file, its bytes, an RGB array (H, W, 3) or (H, W), or a Pillow image."""


class Spotter:
    """Find and read the words of pictures.

    Args:
        checkpoint: ``*.safetensors`` or ``last.ckpt`` of a training, a file that AdelaiDet, DeepSolo, TESTR, mmocr or
            TCM published, or a word of :data:`~fasttcm.engine.checkpoint.SHIPPED`. By default the small model that
            comes with the package.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
        confidence: lowest score of a word, in [0, 1]; ``None`` keeps the configuration's.
        overrides: ``KEY VALUE`` pairs over the stored configuration, e.g. ``["INPUT.MIN_SIZE_TEST", "640"]``. A
            published file does not hold every setting: those of the dataset are the head's defaults.

    Attributes:
        model: maps a list of samples to a list of :class:`TextPredictions`.
        config: the configuration it was built from.
        mapper: turns a decoded picture into a sample.
        device: where the model runs.

    Raises:
        CheckpointError: missing, damaged, without a configuration, or not fitting it.
        ConfigError: an unknown device or override.
    """

    def __init__(
        self,
        checkpoint: str | Path = DEFAULT_MODEL,
        *,
        device: str = "auto",
        confidence: float | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        stored = read_checkpoint(checkpoint)
        if stored.config is None:
            raise CheckpointError(
                f"checkpoint {str(checkpoint)!r} holds no configuration; it cannot be rebuilt from the file alone"
            )
        config = _override(stored.config, confidence, overrides)
        check_same_inputs(stored.config, config, checkpoint, keys=stored.travelling, strict=config.MODEL.WEIGHTS_STRICT)
        model = build_model(config, weights=False)
        load_weights(model, stored.weights, checkpoint, strict=config.MODEL.WEIGHTS_STRICT)
        self.config = config
        self.device = resolve_device(device)
        self.model: nn.Module = model.to(self.device).eval()
        self.mapper: TestMapper = build_test_mapper(config)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path,
        *,
        device: str = "auto",
        confidence: float | None = None,
        overrides: Sequence[str] = (),
    ) -> "Spotter":
        """The model of a file, by the name that other libraries give it; arguments and errors as above."""
        return cls(checkpoint, device=device, confidence=confidence, overrides=overrides)

    def __call__(self, image: ImageLike) -> TextPredictions:
        """The words of one picture, in its own pixels (after EXIF orientation); raises ImageError for a bad file."""
        return self.batch([image])[0]

    @torch.inference_mode()
    def batch(self, images: Sequence[ImageLike]) -> list[TextPredictions]:
        """The words of several pictures of any sizes, run together."""
        samples: list[dict[str, Any]] = [self.mapper.from_array(self.decode(image)) for image in images]
        for sample in samples:
            sample["image"] = sample["image"].to(self.device)
        found: list[TextPredictions] = self.model(samples) if samples else []
        return found

    def decode(self, image: ImageLike) -> npt.NDArray[np.uint8]:
        """Any kind of picture as an RGB array (H, W, 3) uint8.

        Raises:
            ImageError: not a picture, damaged, too large, or an array of another shape or type.
        """
        if isinstance(image, str | Path | bytes):
            return read_image(image, max_pixels=self.config.INPUT.MAX_PIXELS)
        array = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
        if array.ndim == 2:
            array = np.repeat(array[:, :, None], 3, axis=2)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            raise ImageError(f"an image array must be uint8 (H, W, 3) RGB or (H, W), got {array.dtype} {array.shape}")
        return array


def _override(config: CfgNode, confidence: float | None, overrides: Sequence[str]) -> CfgNode:
    pairs = list(overrides)
    if confidence is not None:
        pairs += [f"MODEL.{config.MODEL.META_ARCHITECTURE.upper()}.INFERENCE_TH_TEST", str(confidence)]
    return apply_overrides(config, pairs)
