"""Loaders whose batches are a function of the iteration number.

Training sees an endless row of positions 0, 1, 2, ... Position p stands for one image of a shuffled epoch and for one
random generator, both functions of (seed, p). Iteration t is the positions ``t * batch_size`` up to
``(t + 1) * batch_size``, of which every rank takes its slice. So the batches do not depend on the number of workers or
of processes, and a run resumed at iteration t continues as if it had never stopped.
"""

import gc
import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from fasttcm.data.coco import Record, TextDataset
from fasttcm.errors import ConfigError, DataError, ImageError
from fasttcm.structures import Sample

__all__ = [
    "EpochOrder",
    "Mapper",
    "PositionBatches",
    "TestStream",
    "TrainStream",
    "build_test_loader",
    "build_train_loader",
]

Mapper = Callable[[Record, Any], Sample]
"""``(record, generator) -> sample``, see :mod:`fasttcm.data.mapper`."""

ORDER_STREAM, AUGMENTATION_STREAM = 0, 1
"""Keep the two uses of one seed apart."""

_log = logging.getLogger(__name__)


class EpochOrder:
    """Position -> image: one permutation of the dataset after the other.

    Args:
        length: number of images, at least 1.
        seed: not negative.
    """

    def __init__(self, *, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self._epoch = -1
        self._permutation = np.zeros(0, np.int64)

    def __call__(self, position: int) -> int:
        """Index of the image at a position of the training stream."""
        epoch, place = divmod(position, self.length)
        if epoch != self._epoch:
            self._permutation = np.random.default_rng([self.seed, ORDER_STREAM, epoch]).permutation(self.length)
            self._epoch = epoch
        return int(self._permutation[place])


class TrainStream(Dataset[Sample]):
    """The endless training stream as a map from position to sample.

    An image that cannot be used is reported once in the log, marked in :attr:`broken`, and replaced by the image after
    it in the dataset, so the stream stays a function of the position.

    Args:
        dataset: images and words.
        mapper: makes a sample from a record.
        seed: of order and augmentation.
        order: position -> image; by default :class:`EpochOrder`.
    """

    def __init__(
        self, dataset: TextDataset, mapper: Mapper, *, seed: int, order: Callable[[int], int] | None = None
    ) -> None:
        if len(dataset) == 0:
            reasons = dataset.problems.summary()
            raise DataError(f"dataset {dataset.name} has no image to train on" + (f" ({reasons})" if reasons else ""))
        if seed < 0:
            raise ConfigError(f"the seed must not be negative, got {seed}")
        self.dataset = dataset
        self.mapper = mapper
        self.seed = seed
        self.order = order or EpochOrder(length=len(dataset), seed=seed)
        # Shared memory: workers mark, the main process can count.
        self.broken = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()

    def __getitem__(self, position: int) -> Sample:
        """The sample at a position.

        Raises:
            DataError: no image of the dataset can be used.
        """
        first = self.order(position)
        for step in range(len(self.dataset)):
            index = (first + step) % len(self.dataset)
            if self.broken[index]:
                continue
            try:
                return self.mapper(
                    self.dataset[index], np.random.default_rng([self.seed, AUGMENTATION_STREAM, position])
                )
            except ImageError as error:
                self.broken[index] = True
                _log.warning("%s: image left out of training: %s", self.dataset.name, error)
        raise DataError(
            f"dataset {self.dataset.name}: not one of its {len(self.dataset)} images can be used; see the log"
        )

    @property
    def num_broken(self) -> int:
        """Images found unusable so far, by all workers."""
        return int(self.broken.sum())


class PositionBatches:
    """Endless batches of positions for one rank, to be used as a batch sampler.

    Args:
        batch_size: samples an iteration over all ranks.
        start_iteration: first iteration to produce.
        rank: this process, counted from 0.
        world_size: number of processes.

    Raises:
        ConfigError: ``batch_size`` is not a positive multiple of ``world_size``.
    """

    def __init__(self, *, batch_size: int, start_iteration: int = 0, rank: int = 0, world_size: int = 1) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise ConfigError(f"the batch size {batch_size} must be a positive multiple of the {world_size} processes")
        self.batch_size = batch_size
        self.start_iteration = start_iteration
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[list[int]]:
        """Positions of iteration ``start_iteration``, then the next, for ever."""
        share = self.batch_size // self.world_size
        first = self.start_iteration * self.batch_size + self.rank * share
        while True:
            yield list(range(first, first + share))
            first += self.batch_size


class TestStream(Dataset[Sample]):
    """Every image once, in order; index -> sample.

    An image that cannot be used gives a sample with ``error`` (one line) instead of ``image``.

    Args:
        dataset: the images.
        mapper: makes a sample from a record.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(self, dataset: TextDataset, mapper: Mapper) -> None:
        self.dataset = dataset
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Image ``index``."""
        record = self.dataset[index]
        try:
            return self.mapper(record, None)
        except ImageError as error:
            return {
                "error": str(error),
                "height": record.height,
                "width": record.width,
                "file_name": record.file_name,
                "image_id": record.image_id,
            }


def build_train_loader(
    dataset: TextDataset,
    mapper: Mapper,
    *,
    batch_size: int,
    seed: int,
    start_iteration: int = 0,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
    order: Callable[[int], int] | None = None,
) -> DataLoader[Sample]:
    """An endless loader of lists of samples; it has no length.

    Args:
        dataset: images and words.
        mapper: see :class:`fasttcm.data.mapper.TrainMapper`.
        batch_size: samples an iteration over all processes; each gets ``batch_size // world_size``.
        seed: of order and augmentation.
        start_iteration: first iteration, 0 or that of a checkpoint.
        num_workers: worker processes; 0 loads in this one.
        rank: this process, counted from 0.
        world_size: number of processes.
        pin_memory: page-locked images for a faster copy to a GPU.
        order: position -> image, see :mod:`fasttcm.data.sampling`; by default every image once an epoch.

    Raises:
        ConfigError: the batch does not divide by the processes.
        DataError: the dataset is empty; while loading: none of its images can be used.
    """
    batches = PositionBatches(batch_size=batch_size, start_iteration=start_iteration, rank=rank, world_size=world_size)
    return DataLoader(
        TrainStream(dataset, mapper, seed=seed, order=order),
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=_as_list,
        worker_init_fn=_single_threaded,
        pin_memory=pin_memory,
    )


def build_test_loader(
    dataset: TextDataset,
    mapper: Mapper,
    *,
    batch_size: int,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Sample]:
    """A loader of lists of samples, each image once, in order; the last list may be shorter.

    Rank r of w takes the images r, r + w, r + 2 w, ... An unusable image gives a sample with ``error`` instead of
    ``image``.
    """
    indices = range(rank, len(dataset), world_size)
    return DataLoader(
        TestStream(dataset, mapper),
        batch_size=batch_size,
        sampler=indices,  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=_as_list,
        worker_init_fn=_single_threaded,
    )


def _as_list(samples: list[Sample]) -> list[Sample]:
    """Images have different sizes, so a batch stays a list; the model pads."""
    return samples


def _single_threaded(worker: int) -> None:
    """Workers are the parallelism; threads inside them would fight over the cores.

    Ctrl-C and SIGTERM reach every process of a job: the main one decides when to stop, workers wait for it.

    What was inherited is taken out of garbage collection, which would write to, and so copy, every page of it.
    """
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
