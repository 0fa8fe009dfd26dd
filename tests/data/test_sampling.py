import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttcm.charset import Charset
from fasttcm.data.annotations import parse_annotation
from fasttcm.data.coco import TextDataset, concatenate
from fasttcm.data.index import ImageTable, IndexBuilder, PackedStrings
from fasttcm.data.loading import EpochOrder, build_train_loader
from fasttcm.data.mapper import TrainMapper
from fasttcm.data.problems import Problems
from fasttcm.data.sampling import GROUP_BLOCK, MIXTURE_BLOCK, GroupedOrder, WeightedOrder, fraction_subset, is_wide
from fasttcm.errors import ConfigError

ASCII = Charset.named("ascii")


def dataset(name: str, images: int) -> TextDataset:
    """Images ``<name>0.png``, ... with 0, 1, 2, 0, 1, ... words, the second with a polygon of 4 or 5 points."""
    builder = IndexBuilder()
    for image, word in itertools.product(range(images), range(2)):
        if word < image % 3:
            fields: dict[str, Any] = {"bbox": [1, 1, 9, 5], "text": f"{name}{image}-{word}"}
            if word:
                fields["polys"] = [1, 1, 9, 1, 9, 5, 1, 5] + ([0, 3] if image % 2 else [])
            builder.add(image, parse_annotation(fields, height=48, width=64, rec_charset=ASCII), image % 5)
    table = ImageTable(
        root=Path(name),
        file_names=PackedStrings([f"{name}{k}.png" for k in range(images)]),
        image_ids=PackedStrings([str(k) for k in range(images)]),
        id_is_number=np.ones(images, np.bool_),
        sizes=np.array([[48, 64] if k % 3 else [64, 48] for k in range(images)], np.int64).reshape(-1, 2),
        words=builder.build(range(images)),
    )
    return TextDataset(name=name, tables=[table], categories=["text"], problems=Problems())


def names(subset: TextDataset) -> list[str]:
    return [subset[k].file_name for k in range(len(subset))]


def test_a_fraction_keeps_images_with_their_words() -> None:
    whole = dataset("a", 60)
    by_name = {whole[k].file_name: whole[k] for k in range(60)}
    part = fraction_subset(whole, 0.25, seed=1)
    assert len(part) == 15 and names(part) == sorted(names(part), key=lambda name: int(name[1:-4]))
    for k in range(15):
        old, new = by_name[part[k].file_name], part[k]
        assert (old.image_id, old.height, old.width, old.file_path) == (
            new.image_id,
            new.height,
            new.width,
            new.file_path,
        )
        assert old.targets.texts == new.targets.texts and old.targets.labels.tolist() == new.targets.labels.tolist()
        for a, b in zip(old.targets.polygons, new.targets.polygons, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(old.targets.beziers, new.targets.beziers)


@given(st.lists(st.integers(0, 90), min_size=1, max_size=4), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_fractions_are_nested_and_stratified(lengths: list[int], a: float, b: float, seed: int) -> None:
    parts = [dataset(chr(97 + k), length) for k, length in enumerate(lengths)]
    whole = concatenate(parts)
    small, large = (fraction_subset(whole, f, seed) for f in sorted((a, b)))
    assert set(names(small)) <= set(names(large)) <= set(names(whole))
    for k, length in enumerate(lengths):
        count = sum(name.startswith(chr(97 + k)) for name in names(small))
        assert count == min(length, max(1, int(min(a, b) * length + 0.5)))
    for part in parts:  # what another dataset contributes makes no difference
        alone = names(fraction_subset(part, min(a, b), seed))
        assert alone == [name for name in names(small) if name.startswith(part.name)]


def test_a_fraction_depends_on_its_seed_alone() -> None:
    whole = dataset("a", 200)
    assert names(fraction_subset(whole, 0.1, 3)) == names(fraction_subset(dataset("a", 200), 0.1, 3))
    assert names(fraction_subset(whole, 0.1, 3)) != names(fraction_subset(whole, 0.1, 4))
    assert fraction_subset(whole, 1.0, 0) is whole


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_fractions_that_are_none(fraction: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        fraction_subset(dataset("a", 3), fraction, 0)
    with pytest.raises(ConfigError, match="not be negative"):
        fraction_subset(dataset("a", 3), 0.5, -1)


def test_weights_are_kept_in_every_block() -> None:
    order = WeightedOrder([50, 400, 7], [0.6, 0.3, 0.1], seed=0)
    for block in range(3):
        images = [order(p) for p in range(block * MIXTURE_BLOCK, (block + 1) * MIXTURE_BLOCK)]
        sources = Counter(int(np.searchsorted([50, 450, 457], image, side="right")) for image in images)
        assert sources == {0: 600, 1: 300, 2: 100}


def test_images_of_a_dataset_come_once_before_any_comes_twice() -> None:
    order = WeightedOrder([50, 400], [1, 3], seed=5)
    images = [order(p) for p in range(4000)]
    for low, high in ((0, 50), (50, 450)):
        own = [image for image in images if low <= image < high]
        for start in range(0, len(own) - (high - low) + 1, high - low):
            assert sorted(own[start : start + high - low]) == list(range(low, high))
    assert own[:350] != own[400:750]


def test_a_dataset_of_weight_0_is_left_out() -> None:
    assert max(WeightedOrder([5, 0, 9], [2, 0, 0], seed=0)(p) for p in range(2000)) == 4
    rare = WeightedOrder([5, 5], [1, 1e-9], seed=0)  # a positive weight is never rounded to nothing
    assert 1 <= sum(rare(p) >= 5 for p in range(MIXTURE_BLOCK)) <= 2


@pytest.mark.parametrize(
    ("lengths", "weights", "message"),
    [
        ([3, 3], [1], "2 datasets need as many sampling weights, got 1"),
        ([3, 3], [1, -1], "from 0 on and not all 0"),
        ([3, 3], [0, 0], "from 0 on and not all 0"),
        ([3, 3], [1, float("nan")], "from 0 on and not all 0"),
        ([3, 0], [1, 1], "dataset number 2 has sampling weight 1, but no image"),
    ],
)
def test_weights_that_are_none(lengths: list[int], weights: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WeightedOrder(lengths, weights, seed=0)


def test_batches_have_one_orientation_and_every_image() -> None:
    whole = dataset("a", 90)
    wide = is_wide(whole)
    assert wide.tolist() == [bool(k % 3) for k in range(90)]
    batch = 6
    order = GroupedOrder(EpochOrder(length=90, seed=0), wide, batch_size=batch, seed=0)
    size = GROUP_BLOCK * batch
    for block in range(2):
        images = np.array([order(p) for p in range(block * size, (block + 1) * size)])
        mixed = [rows for rows in wide[images].reshape(-1, batch) if 0 < rows.sum() < batch]
        assert len(mixed) <= 1
        plain = [EpochOrder(length=90, seed=0)(p) for p in range(block * size, (block + 1) * size)]
        assert Counter(images.tolist()) == Counter(plain)
    kinds = wide[np.array([order(p) for p in range(size)])].reshape(-1, batch)[:, 0]
    assert np.abs(np.diff(kinds.astype(int))).sum() > 20  # wide and tall batches alternate


@pytest.mark.parametrize("kind", ["weighted", "grouped"])
def test_an_order_is_a_function_of_the_position(kind: str) -> None:
    def make() -> Callable[[int], int]:
        weighted = WeightedOrder([40, 60], [1, 1], seed=2)
        return weighted if kind == "weighted" else GroupedOrder(weighted, np.arange(100) % 2 > 0, batch_size=4, seed=2)

    forwards = [make()(p) for p in (0,)] + list(map(make(), range(1, 2500)))
    backwards = list(map(make(), reversed(range(2500))))
    assert forwards == backwards[::-1]
    fresh = make()
    assert [fresh(p) for p in (2400, 3, 1700)] == [forwards[p] for p in (2400, 3, 1700)]


def test_resumed_workers_and_ranks_see_the_same_order(
    write_dataset: Callable[..., Path], make_word: Callable[..., dict[str, Any]]
) -> None:
    images = TextDataset.from_json(write_dataset([make_word(k, image_id=k) for k in range(1, 8)], num_images=7))
    mapper = TrainMapper(transforms=[])

    def ids(**options: Any) -> list[list[Any]]:
        order = GroupedOrder(WeightedOrder([7], [1], seed=1), is_wide(images), batch_size=2, seed=1)
        loader = build_train_loader(images, mapper, batch_size=2, seed=1, order=order, **options)
        return [[sample["image_id"] for sample in batch] for batch in itertools.islice(iter(loader), 6)]

    plain = ids()
    assert ids(num_workers=2) == plain
    assert ids(start_iteration=4)[:2] == plain[4:]
    shares = [ids(rank=rank, world_size=2) for rank in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == plain
