"""Which images are trained on, and in which order: few-shot subsets, mixtures of datasets, batches of one orientation.

An order maps the position in the endless training stream to an image and is a function of the position alone (see
:mod:`fasttcm.data.loading`). So it is the same in every worker and process, and a resumed run continues it.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fasttcm.data.coco import TextDataset
from fasttcm.data.index import ImageTable
from fasttcm.data.loading import EpochOrder
from fasttcm.errors import ConfigError

__all__ = ["GroupedOrder", "Order", "WeightedOrder", "fraction_subset", "is_wide"]

Order = Callable[[int], int]
"""``position -> image``."""

FRACTION_STREAM, MIXTURE_STREAM, GROUP_STREAM = 2, 3, 4
"""Keep these uses of a seed apart from those of :mod:`fasttcm.data.loading`."""

MIXTURE_BLOCK = 1000
"""Positions in which every dataset has its exact share; weights are rounded to a thousandth."""

GROUP_BLOCK = 100
"""Batches that are sorted by orientation together; at most one of them is mixed."""


def fraction_subset(dataset: TextDataset, fraction: float, seed: int) -> TextDataset:
    """A share of the images of every dataset that ``dataset`` was concatenated from.

    Which images depends on the seed and on the dataset's images, not on the other datasets. Subsets are nested: that
    of 5 % is part of that of 10 %.

    Args:
        dataset: the whole.
        fraction: share in (0, 1]; each part contributes that share of its images, rounded, and at least one.
        seed: not negative.

    Raises:
        ConfigError: a fraction outside (0, 1], or a negative seed.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"a fraction of the training images is above 0 and at most 1, got {fraction}")
    if seed < 0:
        raise ConfigError(f"the seed of the fraction must not be negative, got {seed}")
    if fraction == 1:
        return dataset
    tables = [_part(table, fraction, seed) for table in dataset.tables]
    return TextDataset(name=dataset.name, tables=tables, categories=dataset.categories, problems=dataset.problems)


def _part(table: ImageTable, fraction: float, seed: int) -> ImageTable:
    """The first images of a shuffled table, in their old order."""
    count = min(len(table), max(1, int(fraction * len(table) + 0.5)))
    fingerprint = 0
    for number in range(len(table)):
        fingerprint = zlib.crc32(table.file_names[number].encode("utf-8", "surrogatepass"), fingerprint)
    shuffled = np.random.default_rng([seed, FRACTION_STREAM, fingerprint]).permutation(len(table))
    return table.select(np.sort(shuffled[:count]))


class WeightedOrder:
    """Draws from several datasets in given proportions, each image of a dataset once before any of it twice.

    Args:
        lengths: number of images of each dataset; their images are numbered one dataset after the other.
        weights: one a dataset, not negative; they need not add up to 1.
        seed: not negative.

    Raises:
        ConfigError: numbers of weights and datasets differ, a weight is negative or not finite, all are 0, or a
            dataset without images has one.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], *, seed: int) -> None:
        if seed < 0:
            raise ConfigError(f"the seed must not be negative, got {seed}")
        if len(lengths) != len(weights):
            raise ConfigError(f"{len(lengths)} datasets need as many sampling weights, got {len(weights)}")
        shares = np.asarray(weights, np.float64)
        if not len(shares) or not np.isfinite(shares).all() or shares.min() < 0 or shares.sum() == 0:
            raise ConfigError(f"sampling weights are numbers from 0 on and not all 0, got {list(weights)}")
        for number, (length, weight) in enumerate(zip(lengths, weights, strict=True)):
            if weight > 0 and length == 0:
                raise ConfigError(f"dataset number {number + 1} has sampling weight {weight}, but no image")
        self.seed = seed
        self._counts = _rounded(shares / shares.sum(), MIXTURE_BLOCK)
        self._starts = np.cumsum([0, *lengths])[:-1]
        self._orders = [
            EpochOrder(length=length, seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))
            if length
            else None
            for number, length in enumerate(lengths)
        ]
        self._block = -1
        self._sources = np.zeros(0, np.int64)
        self._ranks = np.zeros(0, np.int64)

    def __call__(self, position: int) -> int:
        """The image at a position of the training stream."""
        block, place = divmod(position, int(self._counts.sum()))
        if block != self._block:
            sources = np.repeat(np.arange(len(self._counts)), self._counts)
            self._sources = np.random.default_rng([self.seed, MIXTURE_STREAM, block]).permutation(sources)
            # How many of the same dataset come before in this block.
            self._ranks = np.zeros(len(sources), np.int64)
            for source, count in enumerate(self._counts):
                self._ranks[self._sources == source] = np.arange(count)
            self._block = block
        source = int(self._sources[place])
        order = self._orders[source]
        assert order is not None  # a dataset without images has no share
        return int(self._starts[source]) + order(block * int(self._counts[source]) + int(self._ranks[place]))


class GroupedOrder:
    """Another order, rearranged so that the images of a batch are wide or tall alike, which saves padding.

    Blocks of 100 batches are sorted by orientation, cut into batches again, and these are shuffled; the images that
    leave no whole batch of one kind make one mixed batch a block.

    Args:
        order: the order to rearrange.
        wide: (n,) bool, whether image i is wider than high.
        batch_size: images of an iteration over all processes.
        seed: not negative.
    """

    def __init__(self, order: Order, wide: npt.NDArray[np.bool_], *, batch_size: int, seed: int) -> None:
        self.order = order
        self.wide = wide
        self.batch_size = batch_size
        self.seed = seed
        self._block = -1
        self._images = np.zeros(0, np.int64)

    def __call__(self, position: int) -> int:
        """The image at a position of the training stream."""
        size = GROUP_BLOCK * self.batch_size
        block, place = divmod(position, size)
        if block != self._block:
            images = np.asarray([self.order(p) for p in range(block * size, (block + 1) * size)], np.int64)
            grouped = images[np.argsort(~self.wide[images], kind="stable")].reshape(GROUP_BLOCK, self.batch_size)
            self._images = np.random.default_rng([self.seed, GROUP_STREAM, block]).permutation(grouped).reshape(-1)
            self._block = block
        return int(self._images[place])


def is_wide(dataset: TextDataset) -> npt.NDArray[np.bool_]:
    """(n,) bool, whether each image of a dataset is wider than high, as annotated."""
    sizes = np.concatenate([table.sizes for table in dataset.tables])
    return np.asarray(sizes[:, 1] > sizes[:, 0])


def _rounded(shares: npt.NDArray[np.float64], total: int) -> npt.NDArray[np.int64]:
    """Whole numbers in about these proportions: at least 1 for a positive share, by largest remainders."""
    exact = shares * total
    counts = np.where(shares > 0, np.maximum(np.floor(exact), 1), 0).astype(np.int64)
    missing = total - int(counts.sum())
    if missing > 0:
        counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts
