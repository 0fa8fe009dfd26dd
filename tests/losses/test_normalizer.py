import torch

from fasttcm.losses.normalizer import process_share


def test_process_share_of_one_process_is_its_count_or_the_least() -> None:
    assert process_share(torch.tensor([3.0, 0.0]), 1.0).tolist() == [3.0, 1.0]
