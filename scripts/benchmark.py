"""Measure what the README claims: ratios of alternatives run side by side, parameters and operations per part.

    python scripts/benchmark.py matching            # FastTCM's cached text against TCM
    python scripts/benchmark.py backbones           # the four backbones, 640 x 640, batch 1
    python scripts/benchmark.py params              # parameters and multiply-adds of every part
    python scripts/benchmark.py evaluation          # protocols against a plain reading of the same rules
    python scripts/benchmark.py data                # the training mapper step by step, the loader, its memory
    python scripts/benchmark.py spotters            # BezierAlign, deformable attention and whole spotters
    python scripts/benchmark.py detectors           # post-processing against plain loops, whole detectors
    python scripts/benchmark.py reading DATASET     # our spotter beside Tesseract and RapidOCR; its own options: --help

Alternatives are timed in turn (A B C A B C ...), so that a machine that slows down slows all of them; the table gives
the median time of each and its ratio to the first. On the CPU the time is the process's CPU time with one thread,
which other jobs on the machine disturb least; on a GPU it is the time between two synchronisations.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch
from fvcore.nn import FlopCountAnalysis
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from fasttcm.layers.fpn import FPN
from fasttcm.tcm import build_backbone

EMBED_DIM, STRIDE = 1024, 32
_CONSOLE = Console()


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        function()
        torch.cuda.synchronize(device)
        return time.perf_counter() - start
    start = time.process_time()
    function()
    return time.process_time() - start


def compare(
    title: str, alternatives: Mapping[str, Callable[[], object]], *, device: torch.device, repeats: int
) -> None:
    """Time alternatives in turn and print median, spread, and ratio to the first."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    with torch.inference_mode():
        for function in alternatives.values():  # fills caches and workspaces
            function()
        for _ in range(repeats):
            for name, function in alternatives.items():
                seconds[name].append(timed(function, device))
    first = next(iter(seconds.values()))
    table = Table(title=title)
    for column in ("", "median ms", "fastest ms", "ratio to the first"):
        table.add_column(column, justify="right" if column else "left")
    for name, values in seconds.items():
        ratio = statistics.median(value / base for value, base in zip(values, first, strict=True))
        table.add_row(name, f"{1e3 * statistics.median(values):.1f}", f"{1e3 * min(values):.1f}", f"{ratio:.3f}")
    _CONSOLE.print(table)


def matching(options: argparse.Namespace, device: torch.device) -> None:
    """The matching alone: TCM runs the text tower for every image, FastTCM keeps its output."""
    cells = options.size // STRIDE
    image = torch.randn(1, EMBED_DIM, device=device)
    visual = torch.randn(1, EMBED_DIM, cells, cells, device=device)
    tcm, fast = (
        build_backbone(name, weights="random").matching.to(device).eval() for name in ("tcm_cr50", "fasttcm_cr50")
    )

    def recomputed() -> None:
        fast.reset_text_cache()
        fast(image, visual)

    compare(
        f"matching, {options.size} x {options.size}, batch 1, {device}",
        {
            "TCM": lambda: tcm(image, visual),
            "FastTCM, cached text": lambda: fast(image, visual),
            "FastTCM, text recomputed": recomputed,
        },
        device=device,
        repeats=options.repeats,
    )


def backbones(options: argparse.Namespace, device: torch.device) -> None:
    """Whole backbones in eval mode; CR50 also with its attention pool, which TCM and FastTCM need."""
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    models = {
        name: build_backbone(name, weights="random").to(device).eval()
        for name in ("clip_r50", "tcm_cr50", "fasttcm_cr50", "imagenet_r50")
    }
    pool = models["tcm_cr50"].pool
    alternatives: dict[str, Callable[[], object]] = {
        "clip_r50 + pool": lambda: pool(models["clip_r50"](images).features["res5"])
    }
    alternatives |= {name: (lambda model=model: model(images)) for name, model in models.items()}
    compare(
        f"backbones, {options.size} x {options.size}, batch {options.batch}, {device}",
        alternatives,
        device=device,
        repeats=options.repeats,
    )


def attention_multiply_adds(inputs: list[torch._C.Value], outputs: list[torch._C.Value]) -> int:
    """Multiply-adds of scaled dot-product attention, which fvcore leaves out: 2 * heads * L * S * head size."""
    query, key = (value.type().sizes() for value in inputs[:2])
    batch = 1
    for size in query[:-2]:
        batch *= size
    return 2 * batch * query[-2] * key[-2] * query[-1]


def multiply_adds(module: nn.Module, *inputs: Tensor) -> float:
    """Giga multiply-adds of one call (fvcore: one multiply-add counts 1)."""
    analysis = FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle("aten::scaled_dot_product_attention", attention_multiply_adds)
    return float(analysis.total()) / 1e9


class _Matching(nn.Module):
    """A matching that returns tensors, as fvcore's tracer needs."""

    def __init__(self, matching: nn.Module) -> None:
        super().__init__()
        self.matching = matching

    def forward(self, image: Tensor, visual: Tensor) -> Tensor:
        score: Tensor = self.matching(image, visual).score
        return score


class _Features(nn.Module):
    """A backbone that returns tensors, as fvcore's tracer needs."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.backbone(images).features.values())


def params(options: argparse.Namespace, device: torch.device) -> None:
    """Parameters (millions) and multiply-adds (10^9) of every part, beside the figures of the specification."""
    tcm, fast = (build_backbone(name, weights="random").eval() for name in ("tcm_cr50", "fasttcm_cr50"))
    cells = options.size // STRIDE
    image, visual = torch.randn(1, EMBED_DIM), torch.randn(1, EMBED_DIM, cells, cells)
    stage = torch.randn(1, 2 * EMBED_DIM, cells, cells)
    photo = torch.randn(1, 3, options.size, options.size)
    tokens = visual.flatten(2).transpose(1, 2)
    text = torch.randn(1, 1, EMBED_DIM)
    memory = torch.cat([image[:, None], tokens], 1)
    fpn = FPN(bottom_up=fast.trunk, top_block="conv")
    with torch.no_grad():
        fast.matching(image, visual)  # fills the text cache
        trunk = multiply_adds(_Features(fast.trunk), photo)
        decoder, generator = tcm.matching.context_decoder, tcm.matching.visual_prompt_generator
        cue, encoder = tcm.matching.text.prompt_generator, tcm.matching.text.encoder
        cues = cue(image)
        rows: list[tuple[str, nn.Module | None, float, str]] = [
            ("trunk, stem to res5", fast.trunk, trunk, "23.527 / 44.02"),
            ("dense attention pool", fast.pool, multiply_adds(fast.pool, stage), "15.508 / 6.55"),
            ("text tower with contexts", encoder, multiply_adds(encoder, cues), "63.660 / 0.685"),
            ("prompt generator", cue, multiply_adds(cue, image), "1.578 / 0.0016"),
            ("context decoder", decoder, multiply_adds(decoder, text, memory), "3.949 / 0.27"),
            ("visual prompt generator", generator, multiply_adds(generator, tokens, text), "3.949 / 1.56"),
            ("matching, TCM", tcm.matching, multiply_adds(_Matching(tcm.matching), image, visual), "- / 2.52"),
            ("matching, FastTCM", fast.matching, multiply_adds(_Matching(fast.matching), image, visual), "- / 1.83"),
            ("tcm_cr50", tcm, multiply_adds(_Features(tcm), photo), "112.175 / -"),
            ("fasttcm_cr50", fast, multiply_adds(_Features(fast), photo), ""),
            ("FPN p2 to p7, 256 channels", None, multiply_adds(_Features(fpn), photo) - trunk, ""),
        ]
    table = Table(
        title=f"{options.size} x {options.size}, batch 1; 1 multiply-add = 1; specification's figures at 640 x 640"
    )
    for column in ("part", "parameters M", "multiply-adds G", "specification M / G"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, module, operations, expected in rows:
        count = sum(p.numel() for p in module.parameters()) if module is not None else _own(fpn)
        table.add_row(name, f"{count / 1e6:.3f}", f"{operations:.3f}", expected)
    _CONSOLE.print(table)
    import benchmark_detectors  # the file beside this one

    benchmark_detectors.cost_table()


def _own(fpn: FPN) -> int:
    inner = sum(p.numel() for p in fpn.bottom_up.parameters())
    return sum(p.numel() for p in fpn.parameters()) - inner


def evaluation(options: argparse.Namespace, device: torch.device) -> None:
    """Lexicons, text and DOTA protocols; no model takes part."""
    import benchmark_evaluation  # the file beside this one

    benchmark_evaluation.run(repeats=options.repeats, markdown=options.markdown)


def spotters(options: argparse.Namespace, device: torch.device) -> None:
    """Operators against plain readings, forward and backward, and whole spotters; on the CPU."""
    import benchmark_spotters  # the file beside this one

    benchmark_spotters.run(repeats=options.repeats)


def data(options: argparse.Namespace, device: torch.device) -> None:
    """The training mapper and the loader; no model takes part."""
    import benchmark_data  # the file beside this one

    benchmark_data.run(size=options.size, workers=2, markdown=options.markdown)


def detectors(options: argparse.Namespace, device: torch.device) -> None:
    """Post-processing of DBNet, PAN and FCENet against plain readings, and the four backbones under each."""
    import benchmark_detectors  # the file beside this one

    benchmark_detectors.run(compare, size=options.size, batch=options.batch, repeats=options.repeats, device=device)


def main() -> None:
    """Run one benchmark."""
    if sys.argv[1:2] == ["reading"]:
        import benchmark_reading  # the file beside this one, which compares tools on a dataset: other options

        sys.exit(benchmark_reading.main(sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    functions = (matching, backbones, params, evaluation, data, spotters, detectors)
    benchmarks = {function.__name__: function for function in functions}
    parser.add_argument("benchmark", choices=benchmarks)
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--size", type=int, default=640, help="image side in pixels (default 640)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; the time counts all of them together")
    parser.add_argument("--markdown", action="store_true", help="evaluation: print the tables in Markdown")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    benchmarks[options.benchmark](options, options.device)


if __name__ == "__main__":
    main()
