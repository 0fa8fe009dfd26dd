"""What a training batch says, in the form that the heads work with."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from fasttcm.errors import DataError
from fasttcm.structures import ILLEGIBLE, Sample, TextTargets

__all__ = ["annotations", "image_name"]


def image_name(sample: Sample) -> str:
    """What messages call an image."""
    return str(sample.get("file_name") or sample.get("image_id") or "(unnamed)")


def annotations(samples: Sequence[Sample]) -> list[TextTargets]:
    """The ``targets`` of every sample, with every ``###`` marked as ignored; those of the samples stay as they are.

    Raises:
        DataError: a sample without targets, by name.
    """
    found = []
    for sample in samples:
        if "targets" not in sample:
            raise DataError(f"training sample {image_name(sample)} has no targets; use a dataset with annotations")
        targets: TextTargets = sample["targets"]
        illegible = torch.tensor([text == ILLEGIBLE for text in targets.texts], dtype=torch.bool)
        found.append(replace(targets, ignore=targets.ignore | illegible.to(targets.ignore.device)))
    return found
