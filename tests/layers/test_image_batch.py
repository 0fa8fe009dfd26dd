import pytest
import torch

from fasttcm.layers.image_batch import ImageBatcher


def test_normalises_then_pads_right_and_bottom_with_zeros() -> None:
    batcher = ImageBatcher(pixel_mean=(1, 2, 3), pixel_std=(2, 4, 8), size_divisibility=4)
    images = [torch.full((3, 3, 5), 11, dtype=torch.uint8), torch.full((3, 4, 2), 3, dtype=torch.uint8)]
    batch, sizes = batcher(images)
    assert batch.shape == (2, 3, 4, 8) and sizes == [(3, 5), (4, 2)]
    assert batch[0, :, 0, 0].tolist() == [5.0, 2.25, 1.0]
    assert not batch[0, :, 3:].any() and not batch[0, :, :, 5:].any() and not batch[1, :, :, 2:].any()


def test_bgr_statistics_meet_bgr_channels() -> None:
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1)
    batch, _ = ImageBatcher(pixel_mean=(30, 20, 9), pixel_std=(1, 1, 1), pixel_order="BGR", size_divisibility=1)(
        [image]
    )
    assert batch.flatten().tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("size", [(1, 1), (32, 33)])
def test_sides_become_multiples(size: tuple[int, int]) -> None:
    batch, _ = ImageBatcher()([torch.zeros(3, *size, dtype=torch.uint8)])
    assert all(side % 32 == 0 and side >= own for side, own in zip(batch.shape[-2:], size, strict=True))


def test_statistics_are_not_part_of_a_checkpoint() -> None:
    assert not ImageBatcher().state_dict()
