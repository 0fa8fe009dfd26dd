"""The two operators against plain readings of the same rules, and whole spotters with random weights.

Run it as `python scripts/benchmark.py spotters [--threads 2] [--repeats 5]`. The plain readings are what one writes
with the libraries' own samplers: deformable attention as one `grid_sample` a level, BezierAlign as one gather for each
of the four cells around a sample, and, for upright words, as torchvision's `roi_align` of boxes moved by half a bin.
All have to give the same numbers, forward and backward. CPU times are the process's, of all its threads together, and
wall times beside them; memory is what a call needs on top of what is there before it. Beside whole spotters stand the
wall times of the published code on two cores of another shared machine (SPECs `abcnet` 20, `deepsolo` 22, `testr` 17).
"""

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.layers.bezier_align import bezier_align
from fasttcm.layers.deformable_attention import deformable_attention

ROOT = Path(__file__).resolve().parents[1]
IMAGE = (512, 672)
STRIDES = (8, 16, 32, 64)
HEADS, WIDTH, SAMPLES = 8, 32, 4
DECODER_QUERIES = 2500
REGIONS, POOLED, CHANNELS = 100, (8, 32), 256
TOLERANCE = 1e-3  # of the largest entry
SPOTTERS = {
    "ABCNet v1": ("abcnet/totaltext/imagenet_r50.yaml", "MODEL.ABCNET", {1: 3.48, 2: 2.02}),
    "ABCNet v2": ("abcnet/v2/totaltext/imagenet_r50.yaml", "MODEL.ABCNET", {1: 7.33, 2: 3.39}),
    "DeepSolo": ("deepsolo/totaltext/imagenet_r50.yaml", "MODEL.DEEPSOLO", {1: 6.94, 2: 3.77}),
    "TESTR": ("testr/totaltext/imagenet_r50.yaml", "MODEL.TESTR", {1: 7.85, 2: 4.42}),
}
"""Configuration, the node that holds the score threshold, and wall seconds of the published code by threads."""
_CONSOLE = Console(width=120)


class Cost(NamedTuple):
    """One call: wall and CPU seconds, and MiB on top of what was there."""

    wall: float
    cpu: float
    memory: float


def measure(function: Callable[[], object]) -> Cost:
    """Time one call and watch its memory (Linux; elsewhere 0)."""
    gc.collect()
    before = _reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu, max(0.0, _status("VmHWM") - before))


def _reset_peak() -> float:
    """Give freed memory back, start the peak anew and return what is held, MiB."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(field: str) -> float:
    """MiB of a line of this process's status."""
    if sys.platform != "linux":
        return 0.0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def median(costs: Sequence[Cost]) -> Cost:
    """Of every column."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def plain_attention(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention with one ``grid_sample`` a level; arguments as :func:`deformable_attention`."""
    batch, _, heads, width = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    grids = 2 * locations - 1
    sampled = []
    for level, tokens in enumerate(value.split([h * w for h, w in shapes], 1)):
        picture = tokens.flatten(2).transpose(1, 2).reshape(batch * heads, width, *shapes[level])
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    share = weights.transpose(1, 2).reshape(batch * heads, 1, queries, len(shapes) * points)
    output = (torch.stack(sampled, -2).flatten(-2) * share).sum(-1)
    return output.view(batch, heads * width, queries).transpose(1, 2)


def plain_bezier_align(features: Tensor, rois: Tensor, output_size: tuple[int, int], scale: float) -> Tensor:
    """BezierAlign, one sample a bin: gather the four cells around it, weigh them, add them up."""
    (rows, columns), (height, width) = output_size, features.shape[-2:]
    curves = rois[:, 1:].view(-1, 8, 2) * scale
    u = torch.arange(columns) / columns
    basis = torch.stack([(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u**2 * (1 - u), u**3], 1)
    top, bottom = basis @ curves[:, :4], basis @ curves[:, 4:].flip(1)
    down = (torch.arange(rows) / rows)[:, None, None]
    x, y = (bottom[:, None] * down + top[:, None] * (1 - down) - 0.5).unbind(3)
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    x0, y0 = x.floor().long(), y.floor().long()
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    right, lower = x - x0, y - y0
    image = rois[:, 0].long()[:, None, None]
    pooled = 0.0
    for at_y, share_y in ((y0, 1 - lower), (y1, lower)):
        for at_x, share_x in ((x0, 1 - right), (x1, right)):
            pooled = pooled + features[image, :, at_y, at_x] * (share_y * share_x * inside)[..., None]
    return pooled.permute(0, 3, 1, 2)


def boxes_of(rois: Tensor, output_size: tuple[int, int]) -> Tensor:
    """(n, 5) boxes whose bins have their centres where those of upright regions (n, 17) have their corners."""
    corners = rois[:, 1:].view(-1, 8, 2)[:, [0, 4]]
    half_bin = (corners[:, 1] - corners[:, 0]) / torch.tensor([output_size[1], output_size[0]]) / 2
    return torch.cat([rois[:, :1], (corners - half_bin[:, None]).flatten(1)], 1)


def with_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], list[Tensor]]:
    """A call that computes the output and the gradients of its sum of squares."""

    def call() -> list[Tensor]:
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        output = function(*leaves)
        return [output.detach(), *torch.autograd.grad(output.square().sum(), leaves)]

    return call


def operator_rows(
    name: str, plain: Callable[..., Tensor], ours: Callable[..., Tensor], inputs: Sequence[Tensor], repeats: int
) -> list[list[str]]:
    """Both readings in turn, forward and forward with backward, after a check that they agree."""
    pairs = {
        "forward": (lambda: plain(*inputs), lambda: ours(*inputs)),
        "forward + backward": (with_gradients(plain, *inputs), with_gradients(ours, *inputs)),
    }
    rows = []
    for kind, functions in pairs.items():
        _check(name, *(function() for function in functions))
        costs: tuple[list[Cost], list[Cost]] = ([], [])
        for _ in range(repeats):
            for kept, function in zip(costs, functions, strict=True):
                kept.append(measure(function))
        slow, fast = map(median, costs)
        rows.append(
            [
                f"{name}, {kind}",
                f"{1e3 * slow.wall:.1f} / {1e3 * slow.cpu:.1f}",
                f"{1e3 * fast.wall:.1f} / {1e3 * fast.cpu:.1f}",
                f"{slow.cpu / fast.cpu:.1f} x",
                f"{slow.memory:.0f}",
                f"{fast.memory:.0f}",
            ]
        )
    return rows


def _check(name: str, first: Tensor | list[Tensor], second: Tensor | list[Tensor]) -> None:
    """Stop when the two readings differ."""
    left, right = ([x] if isinstance(x, Tensor) else x for x in (first, second))
    for a, b in zip(left, right, strict=True):
        if not torch.allclose(a, b, atol=TOLERANCE * float(a.abs().max()), rtol=0):
            raise SystemExit(f"{name}: the two readings differ by {float((a - b).abs().max()):.3g}")


def attention_inputs(queries: int | None) -> tuple[list[tuple[int, int]], list[Tensor]]:
    """Values, places and weights at the size of one image; ``None``: every token asks, as in the encoder."""
    shapes = [(-(-IMAGE[0] // stride), -(-IMAGE[1] // stride)) for stride in STRIDES]
    tokens = sum(h * w for h, w in shapes)
    value = torch.randn(1, tokens, HEADS, WIDTH)
    if queries is None:
        centres = [
            torch.stack(torch.meshgrid((torch.arange(w) + 0.5) / w, (torch.arange(h) + 0.5) / h, indexing="xy"), -1)
            for h, w in shapes
        ]
        centre = torch.cat([c.flatten(0, 1) for c in centres])
    else:
        centre = torch.rand(queries, 2)
    sizes = torch.tensor([(w, h) for h, w in shapes])
    offsets = 2 * torch.randn(len(centre), HEADS, len(shapes), SAMPLES, 2) / sizes[:, None]
    locations = (centre[:, None, None, None] + offsets)[None]
    weights = torch.rand(1, len(centre), HEADS, len(shapes) * SAMPLES).softmax(3)
    return shapes, [value, locations, weights.view(locations.shape[:-1])]


def curves(rise: float = 6.0) -> Tensor:
    """(n, 17) words of 60 .. 200 x 20 .. 50 pixels, bent by ``rise`` pixels, anywhere in the image."""
    size = torch.stack([torch.empty(REGIONS).uniform_(60, 200), torch.empty(REGIONS).uniform_(20, 50)], 1)
    corner = torch.rand(REGIONS, 2) * (torch.tensor([IMAGE[1], IMAGE[0]]) - size)
    along = torch.linspace(0, 1, 4)
    bend = torch.tensor([0.0, -rise, -rise, 0.0])
    top = torch.stack([corner[:, :1] + along * size[:, :1], corner[:, 1:] + bend], 2)
    bottom = (top + torch.stack([torch.zeros(REGIONS), size[:, 1]], 1)[:, None]).flip(1)
    return torch.cat([torch.zeros(REGIONS, 1), top.flatten(1), bottom.flatten(1)], 1)


def operators(repeats: int) -> Table:
    """Deformable attention at encoder and decoder size, and BezierAlign on p2."""
    table = Table(title=f"operators, one {IMAGE[0]} x {IMAGE[1]} image, {torch.get_num_threads()} threads")
    for column in ("", "plain, ms wall / CPU", "fasttcm, ms wall / CPU", "CPU ratio", "plain, MiB", "fasttcm, MiB"):
        table.add_column(column, justify="right" if column else "left")
    for name, queries in (("deformable attention, encoder", None), ("deformable attention, decoder", DECODER_QUERIES)):
        shapes, inputs = attention_inputs(queries)
        rows = operator_rows(
            name,
            lambda v, at, w, shapes=shapes: plain_attention(v, shapes, at, w),
            lambda v, at, w, shapes=shapes: deformable_attention(v, shapes, at, w),
            inputs,
            repeats,
        )
        for row in rows:
            table.add_row(*row)
    rois, scale = curves(), 1 / 4
    features = torch.randn(1, CHANNELS, int(IMAGE[0] * scale), int(IMAGE[1] * scale))
    upright = curves(rise=0.0)
    boxes = boxes_of(upright, POOLED)
    rows = operator_rows(
        f"BezierAlign, {REGIONS} curves",
        lambda f: plain_bezier_align(f, rois, POOLED, scale),
        lambda f: bezier_align(f, rois, POOLED, scale),
        [features],
        repeats,
    )
    rows += operator_rows(
        f"roi_align, {REGIONS} upright words",
        lambda f: roi_align(f, boxes, POOLED, scale, sampling_ratio=1, aligned=True),
        lambda f: bezier_align(f, upright, POOLED, scale),
        [features],
        repeats,
    )
    for row in rows:
        table.add_row(*row)
    return table


def models(repeats: int, batches: Sequence[int] = (1, 4)) -> Table:
    """Whole inference of every spotter whose configuration is there; every query or region is read."""
    table = Table(title=f"spotters, {IMAGE[0]} x {IMAGE[1]}, random weights, {torch.get_num_threads()} threads")
    for column in ("", "batch", "wall, s", "CPU, s", "CPU s / image", "MiB", "published, s", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for name, (file, node, published) in SPOTTERS.items():
        path = ROOT / "configs" / file
        if not path.is_file():
            continue
        cfg = load_config(str(path), ["MODEL.RESNET.WEIGHTS", "random", f"{node}.INFERENCE_TH_TEST", "0.0"])
        model = build_model(cfg).eval()
        for batch in batches:
            images = torch.randint(0, 256, (batch, 3, *IMAGE), dtype=torch.uint8)
            samples = [{"image": image, "height": IMAGE[0], "width": IMAGE[1]} for image in images]
            with torch.inference_mode():
                model(samples)
                cost = median([measure(lambda model=model, samples=samples: model(samples)) for _ in range(repeats)])
            row = [f"{batch}", f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.cpu / batch:.2f}", f"{cost.memory:.0f}"]
            original = published.get(torch.get_num_threads()) if batch == 1 else None
            row += [f"{original:.2f}", f"{original / cost.wall:.1f} x"] if original else ["", ""]
            table.add_row(name, *row)
        del model
    return table


def run(*, repeats: int) -> None:
    """Print both tables."""
    _CONSOLE.print(operators(repeats))
    _CONSOLE.print(models(min(repeats, 3)))
