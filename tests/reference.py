"""Reference figures of the published systems and the rule that made their weights and images.

``FASTTCM_GOLDEN`` names the folder of figures (default ``tests/golden``), laid out ``<system>/<file>``. Published
weights are not needed: a figure was computed with every state-dict entry filled by :func:`fill_tensor`.
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

TOLERANCE = 1e-4
"""Allowed difference, as a fraction of the reference tensor's standard deviation."""


KINKS = 1e-3
"""Share of the entries of a gradient that one ReLU or one border of a cell may change: rounding of an activation of
about zero decides on which side it is."""


def golden_root() -> Path:
    """Folder of reference figures."""
    return Path(os.environ.get("FASTTCM_GOLDEN", Path(__file__).parent / "golden"))


def golden(system: str, file: str) -> dict[str, np.ndarray]:
    """Every array of ``<system>/<file>.golden.npz``."""
    with np.load(golden_root() / system / f"{file}.golden.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def manifest(system: str, file: str) -> dict[str, tuple[int, ...]]:
    """Published state-dict keys and shapes, from ``<system>/<file>.manifest.json``."""
    path = golden_root() / system / f"{file}.manifest.json"
    if not path.is_file():
        path = Path(__file__).parent / "golden" / system / f"{file}.manifest.json"
    content = json.loads(path.read_text())
    return {key: tuple(shape) for key, shape in content.get("state_dict", content).items()}


def aliases(system: str, file: str) -> dict[str, str]:
    """Other names of shared weights to the canonical ones, from ``<system>/<file>.aliases.json``."""
    path = golden_root() / system / f"{file}.aliases.json"
    if not path.is_file():
        path = Path(__file__).parent / "golden" / system / f"{file}.aliases.json"
    content: dict[str, str] = json.loads(path.read_text())
    return content


def fill_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of one published state-dict entry: they depend on its key and shape only."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if leaf == "running_var":
        value = 0.75 + 0.25 * np.tanh(noise)
    elif leaf == "running_mean":
        value = 0.1 * noise
    elif len(shape) == 0:
        value = 1.0 + 0.1 * noise
    elif len(shape) == 1:
        value = 1.0 + 0.1 * noise if leaf == "weight" else 0.05 * noise
    else:
        value = noise / np.sqrt(int(np.prod(shape[1:])))
    return np.asarray(value, np.float32)


def fill_state_dict(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights for ``{published key: shape}``."""
    return {name: torch.from_numpy(fill_tensor(name, tuple(shape))) for name, shape in shapes.items()}


def make_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """The reference image: float32 (3, height, width) RGB in 0..255, sine waves and noise."""
    rng = np.random.default_rng(1000 + seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = []
    for _ in range(3):
        fx, fy, phase = rng.uniform(0.02, 0.2), rng.uniform(0.02, 0.2), rng.uniform(0, 6.28)
        channels.append(127.5 + 100.0 * np.sin(fx * x + fy * y + phase))
    image = np.stack(channels) + rng.normal(0, 10, (3, height, width))
    return torch.from_numpy(np.clip(image, 0, 255).astype(np.float32))


def features(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal features that depend on their name only."""
    return torch.from_numpy(np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32))


def assert_matches(
    figures: Mapping[str, np.ndarray], name: str, actual: torch.Tensor, *, tolerance: float = TOLERANCE
) -> None:
    """Compare a tensor with a figure, stored whole or thinned (``flat[::step]``, shape and stats beside it)."""
    expected = figures[name]
    separator = "#" if f"{name}#shape" in figures else "."
    actual = actual.detach().double()
    std = float(expected.std()) or 1.0
    if f"{name}{separator}shape" in figures:
        shape = tuple(int(n) for n in figures[f"{name}{separator}shape"])
        assert tuple(actual.shape) == shape, f"{name}: shape {tuple(actual.shape)}, expected {shape}"
        mean, std, low, high = (float(v) for v in figures[f"{name}{separator}stats"])
        std = std or 1.0
        got = [actual.mean(), actual.std(correction=0), actual.min(), actual.max()]
        np.testing.assert_allclose(
            got, [mean, std, low, high], rtol=0, atol=tolerance * std * 2, err_msg=f"{name} (stats)"
        )
        step = int(figures[f"{name}#step"]) if f"{name}#step" in figures else -(-actual.numel() // expected.size)
        actual = actual.flatten()[::step]
    else:
        assert tuple(actual.shape) == expected.shape, f"{name}: shape {tuple(actual.shape)}, expected {expected.shape}"
    assert actual.numel() == expected.size, f"{name}: {actual.numel()} thinned values, expected {expected.size}"
    np.testing.assert_allclose(
        actual.numpy().reshape(expected.shape), expected, rtol=0, atol=tolerance * std, err_msg=name
    )


def assert_absolute(
    figures: Mapping[str, np.ndarray],
    name: str,
    actual: torch.Tensor,
    atol: float,
    *,
    relative: bool = False,
    strays: float = 0.0,
) -> None:
    """Compare a tensor with a figure, stored whole or thinned (``__every``, ``__step``, ``__shape``, ``__stat``).

    Args:
        figures: of the file.
        name: of the figure.
        actual: any float type.
        atol: allowed difference.
        relative: ``atol`` is a fraction of the largest entry.
        strays: share of the entries that may differ more, see :data:`KINKS`.
    """
    actual = actual.detach().float()
    whole = name in figures
    expected = figures[name] if whole else figures[f"{name}__every"]
    shape = expected.shape if whole else tuple(figures[f"{name}__shape"])
    assert tuple(actual.shape) == tuple(shape), f"{name}: {tuple(actual.shape)} instead of {tuple(shape)}"
    found = actual.numpy() if whole else actual.flatten()[:: int(figures[f"{name}__step"])].numpy()
    if relative:
        atol *= float(np.abs(expected).max(initial=0.0))
    if strays and np.count_nonzero(np.abs(found - expected) > atol) <= strays * expected.size:
        return
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=name)
    if f"{name}__stat" in figures:
        mean, std, low, high = figures[f"{name}__stat"]
        wide = actual.double()
        statistics = [wide.mean(), wide.std(correction=0), wide.min(), wide.max()]
        np.testing.assert_allclose(statistics, [mean, std, low, high], rtol=0, atol=2 * atol, err_msg=f"{name} (stat)")
