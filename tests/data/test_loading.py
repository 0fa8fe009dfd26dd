import itertools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fasttcm.data.augment import ColorJitter, InstanceCrop, ResizeShortestEdge
from fasttcm.data.coco import TextDataset
from fasttcm.data.loading import EpochOrder, TrainStream, build_test_loader, build_train_loader
from fasttcm.data.mapper import TestMapper, TrainMapper
from fasttcm.errors import ConfigError, DataError
from fasttcm.structures import Sample

Write = Callable[..., Path]
Word = Callable[..., dict[str, Any]]

NUM_IMAGES = 7


@pytest.fixture
def dataset(write_dataset: Write, make_word: Word) -> TextDataset:
    words = [make_word(i, image_id=i, text=f"w{i}") for i in range(1, NUM_IMAGES)]
    return TextDataset.from_json(write_dataset(words, num_images=NUM_IMAGES))


@pytest.fixture
def mapper() -> TrainMapper:
    return TrainMapper(
        transforms=[
            InstanceCrop(size_range=(0.5, 1.0)),
            ResizeShortestEdge(min_sizes=(16, 24, 32), max_size=64),
            ColorJitter(brightness=0.5),
        ]
    )


def head(loader: Iterator[Any] | Any, count: int) -> list[list[Sample]]:
    return list(itertools.islice(iter(loader), count))


def same(a: Sample, b: Sample) -> bool:
    return (
        a["image_id"] == b["image_id"]
        and torch.equal(a["image"], b["image"])
        and torch.equal(a["targets"].boxes, b["targets"].boxes)
        and torch.equal(a["targets"].beziers, b["targets"].beziers)
        and a["targets"].texts == b["targets"].texts
    )


def assert_same(first: list[list[Sample]], second: list[list[Sample]]) -> None:
    assert [len(batch) for batch in first] == [len(batch) for batch in second]
    for a, b in zip(itertools.chain(*first), itertools.chain(*second), strict=True):
        assert same(a, b)


def test_each_epoch_shows_every_image_once_in_another_order() -> None:
    order = EpochOrder(length=20, seed=3)
    epochs = [[order(p) for p in range(e * 20, e * 20 + 20)] for e in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [order(p) for p in range(20)] == epochs[0]  # also after a jump back
    assert [EpochOrder(length=20, seed=4)(p) for p in range(20)] != epochs[0]


def test_stream_resumed_at_an_iteration_equals_its_tail(dataset: TextDataset, mapper: TrainMapper) -> None:
    full = head(build_train_loader(dataset, mapper, batch_size=3, seed=1), 9)
    tail = head(build_train_loader(dataset, mapper, batch_size=3, seed=1, start_iteration=5), 4)
    assert_same(full[5:], tail)
    assert not same(full[0][0], head(build_train_loader(dataset, mapper, batch_size=3, seed=2), 1)[0][0])


def test_one_image_is_augmented_differently_every_epoch(dataset: TextDataset, mapper: TrainMapper) -> None:
    stream = TrainStream(dataset, mapper, seed=0)
    index = stream.order(0)
    again = next(p for p in range(NUM_IMAGES, 2 * NUM_IMAGES) if stream.order(p) == index)
    first, second = stream[0], stream[again]
    assert first["image_id"] == second["image_id"] and not torch.equal(first["image"], second["image"])


def test_workers_do_not_change_the_batches(dataset: TextDataset, mapper: TrainMapper) -> None:
    alone = head(build_train_loader(dataset, mapper, batch_size=2, seed=1), 5)
    helped = head(build_train_loader(dataset, mapper, batch_size=2, seed=1, num_workers=2), 5)
    assert_same(alone, helped)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_see_the_batch_of_one_process(
    dataset: TextDataset, mapper: TrainMapper, world_size: int
) -> None:
    joint = head(build_train_loader(dataset, mapper, batch_size=4, seed=1, start_iteration=2), 4)
    ranks = [
        head(
            build_train_loader(
                dataset, mapper, batch_size=4, seed=1, start_iteration=2, rank=rank, world_size=world_size
            ),
            4,
        )
        for rank in range(world_size)
    ]
    assert_same(joint, [list(itertools.chain(*parts)) for parts in zip(*ranks, strict=True)])


def test_batch_that_does_not_divide_is_refused(dataset: TextDataset, mapper: TrainMapper) -> None:
    with pytest.raises(ConfigError, match="batch size 5 must be a positive multiple of the 2 processes"):
        build_train_loader(dataset, mapper, batch_size=5, seed=0, world_size=2)
    with pytest.raises(ConfigError):
        build_train_loader(dataset, mapper, batch_size=0, seed=0)
    with pytest.raises(ConfigError, match="seed"):
        build_train_loader(dataset, mapper, batch_size=1, seed=-1)


def test_broken_image_is_replaced_by_its_successor_and_reported_once(
    dataset: TextDataset, mapper: TrainMapper, caplog: pytest.LogCaptureFixture
) -> None:
    dataset[3].file_path.write_bytes(b"broken")
    stream = TrainStream(dataset, mapper, seed=0)
    with caplog.at_level(logging.WARNING):
        seen = [stream[p]["image_id"] for p in range(2 * NUM_IMAGES)]
    expected = [dataset[i + 1 if (i := stream.order(p)) == 3 else i].image_id for p in range(2 * NUM_IMAGES)]
    assert seen == expected
    assert [r.getMessage() for r in caplog.records if "4.png" in r.getMessage()] == [
        r.getMessage() for r in caplog.records
    ]
    assert len(caplog.records) == 1 and stream.num_broken == 1


def test_broken_image_is_replaced_alike_with_workers(dataset: TextDataset, mapper: TrainMapper) -> None:
    dataset[3].file_path.unlink()
    alone = head(build_train_loader(dataset, mapper, batch_size=2, seed=1), 6)
    loader = build_train_loader(dataset, mapper, batch_size=2, seed=1, num_workers=2)
    assert_same(alone, head(loader, 6))
    assert isinstance(loader.dataset, TrainStream) and loader.dataset.num_broken == 1  # counted across processes


def test_when_every_image_is_broken_training_ends(dataset: TextDataset, mapper: TrainMapper) -> None:
    for record in dataset:
        record.file_path.write_bytes(b"")
    with pytest.raises(DataError, match="not one of its 7 images can be used"):
        TrainStream(dataset, mapper, seed=0)[0]


def test_an_empty_dataset_is_refused_with_its_problems(
    write_dataset: Write, make_word: Word, mapper: TrainMapper
) -> None:
    path = write_dataset([make_word(1, bbox=[1, 1, 0, 0])])
    empty = TextDataset.from_json(path, filter_empty=True)
    with pytest.raises(DataError, match=r"no image to train on \(1 x zero area"):
        build_train_loader(empty, mapper, batch_size=1, seed=0)
    assert head(build_test_loader(empty, TestMapper(min_size=8, max_size=8), batch_size=1), 1) == []


def test_a_batch_without_any_text(write_dataset: Write, mapper: TrainMapper) -> None:
    dataset = TextDataset.from_json(write_dataset([], num_images=2))
    (batch,) = head(build_train_loader(dataset, mapper, batch_size=2, seed=0), 1)
    assert [len(sample["targets"]) for sample in batch] == [0, 0] and batch[0]["image"].shape[0] == 3


@pytest.mark.parametrize("num_workers", [0, 2])
def test_test_loader_shows_every_image_once_in_order(dataset: TextDataset, num_workers: int) -> None:
    loader = build_test_loader(dataset, TestMapper(min_size=16, max_size=64), batch_size=3, num_workers=num_workers)
    batches = list(loader)
    assert [len(batch) for batch in batches] == [3, 3, 1] and len(loader) == 3
    assert [s["image_id"] for batch in batches for s in batch] == list(range(1, NUM_IMAGES + 1))
    values = [int(s["image"].float().mean()) for batch in batches for s in batch]
    assert values == list(range(1, NUM_IMAGES + 1))  # image k is painted with the value k


def test_ranks_share_the_test_images(dataset: TextDataset) -> None:
    mapper = TestMapper(min_size=16, max_size=64)
    ids = [
        [
            s["image_id"]
            for batch in build_test_loader(dataset, mapper, batch_size=2, rank=r, world_size=2)
            for s in batch
        ]
        for r in range(2)
    ]
    assert ids == [[1, 3, 5, 7], [2, 4, 6]]


def test_bad_test_image_becomes_a_sample_with_its_error(dataset: TextDataset) -> None:
    path = dataset[2].file_path
    path.write_bytes(path.read_bytes()[:40])
    dataset[4].file_path.unlink()
    samples = [s for b in build_test_loader(dataset, TestMapper(min_size=16, max_size=64), batch_size=4) for s in b]
    bad = {s["image_id"]: s for s in samples if "error" in s}
    assert sorted(bad) == [3, 5] and len(samples) == NUM_IMAGES
    assert "3.png" in bad[3]["error"] and "no such file" in bad[5]["error"]
    assert "image" not in bad[3] and (bad[3]["height"], bad[3]["width"]) == (48, 64)


def test_image_of_another_size_than_annotated_is_left_out(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1)], num_images=2)
    content = json.loads(path.read_text())
    content["images"][0]["width"] = 63
    path.write_text(json.dumps(content))
    stream = TrainStream(TextDataset.from_json(path), TrainMapper(transforms=[]), seed=0)
    assert [stream[p]["image_id"] for p in range(4)] == [2] * 4
    assert np.array_equal(stream.broken.numpy(), [True, False])
