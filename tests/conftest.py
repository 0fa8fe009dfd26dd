"""One thread a test process: the suite runs several processes, and small tensors gain nothing from more."""

import torch

torch.set_num_threads(1)
