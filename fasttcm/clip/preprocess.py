"""CLIP's own image preprocessing, for embedding whole pictures. The TCM pipelines do not use it."""

from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transform import image_transform
from PIL import Image
from torch import Tensor

__all__ = ["preprocess"]


def preprocess(image: Image.Image, resolution: int = 224) -> Tensor:
    """Resize the shorter side (bicubic, antialiased), crop the centre, normalise with CLIP's statistics.

    Args:
        image: a picture of any mode; it is converted to RGB.
        resolution: side of the result in pixels.

    Returns:
        (3, resolution, resolution) float32.
    """
    transform = image_transform(
        resolution,
        is_train=False,
        mean=OPENAI_DATASET_MEAN,
        std=OPENAI_DATASET_STD,
        resize_mode="shortest",
        interpolation="bicubic",
    )
    return transform(image)
