"""Published checkpoints: files as their projects write them, made here from their key lists and the fill rule."""

import json
import logging
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import fill_state_dict, golden_root, manifest
from safetensors.torch import save_file
from torch import Tensor

from fasttcm import Spotter
from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.engine.checkpoint import TRAVELLING_KEYS, check_same_inputs, read_checkpoint, read_torch_file
from fasttcm.engine.published import published_heads, read_published
from fasttcm.errors import CheckpointError, FastTCMError

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = ["INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "96"]
V1, V2 = ("abcnet", "abcnet_v1_r50"), ("abcnet", "abcnet_v2_r50")
MATCHING = ("tcm", "tcm_spotter_p4")


def whole_models() -> list[tuple[str, str]]:
    """Every (system, file) whose key list is that of a model here."""
    found = []
    for path in sorted(golden_root().rglob("*.manifest.json")):
        kind = path.parent.name, path.name.removesuffix(".manifest.json")
        if any(head.matches(manifest(*kind)) for head in published_heads().values()):
            found.append(kind)
    return found


def state_of(system: str, file: str) -> dict[str, Tensor]:
    """A published state dict; names of one shared tensor get one value."""
    state = fill_state_dict(manifest(system, file))
    aliases = golden_root() / system / f"{file}.aliases.json"
    if aliases.is_file():
        for alias, canonical in aliases_of(json.loads(aliases.read_text())).items():
            state[alias] = state[canonical]
    return state


def aliases_of(content: dict[str, Any]) -> dict[str, str]:
    return content.get("aliases", content)


def shapes_of(*kinds: tuple[str, str]) -> dict[str, Tensor]:
    """State dicts without values, for what depends on names and shapes only."""
    return {key: torch.empty(shape, device="meta") for kind in kinds for key, shape in manifest(*kind).items()}


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AdelaiDet's file: weights, optimiser, schedule with NumPy scalars, iteration."""
    file = tmp_path_factory.mktemp("published") / "tt_e2e_attn_R_50.pth"
    optimizer = {
        "state": {0: {"momentum_buffer": torch.zeros(3)}},
        "param_groups": [{"lr": np.float64(0.001), "momentum": 0.9, "params": [0]}],
    }
    scheduler = {"last_epoch": np.int64(5000), "base_lrs": [np.float32(0.001)], "done": np.bool_(True)}
    torch.save({"model": state_of(*V1), "optimizer": optimizer, "scheduler": scheduler, "iteration": 4999}, file)
    return file


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)


@pytest.mark.golden
@pytest.mark.parametrize("kind", whole_models(), ids="/".join)
def test_a_published_file_rebuilds_its_model(kind: tuple[str, str], tmp_path: Path) -> None:
    torch.save({"model": state_of(*kind), "iteration": 7}, tmp_path / "published.pth")
    spotter = Spotter.from_checkpoint(tmp_path / "published.pth", device="cpu", overrides=SMALL)
    os.unlink(tmp_path / "published.pth")
    found = spotter(picture())
    assert (found.height, found.width) == (64, 80)
    assert all(np.isfinite(polygon).all() for polygon in found.polygons)


def test_abcnet_file_with_optimiser_and_numpy_scalars_keeps_its_settings(v1: Path) -> None:
    stored = read_checkpoint(v1)
    config = stored.config
    assert stored.iteration == 4999 and config.MODEL.META_ARCHITECTURE == "ABCNet"
    assert config.INPUT.FORMAT == "BGR" and config.MODEL.PIXEL_MEAN == [103.53, 116.28, 123.675]
    assert (config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST) == (1000, 1824)
    assert config.MODEL.RESNET.STRIDE_IN_1X1 and config.MODEL.RESNET.DEPTH == 50
    assert "MODEL.TEXT.CHARSET" in stored.travelling and "MODEL.TEXT.MAX_LENGTH" not in stored.travelling
    weights = fill_state_dict({"top_module.bias": (16,)})
    assert torch.equal(stored.weights["head.bezier_pred.bias"], weights["top_module.bias"])


def test_abcnet_versions_and_the_matching_are_told_by_their_names() -> None:
    first, second, matched = (read_published(shapes_of(*kinds)) for kinds in ([V1], [V2], [V1, MATCHING]))
    assert (first.config.MODEL.FPN.KIND, second.config.MODEL.FPN.KIND) == ("fpn", "bifpn")
    assert (first.config.MODEL.ABCNET.COORD_CONVS, second.config.MODEL.ABCNET.COORD_CONVS) == (0, 4)
    assert second.config.MODEL.FPN.NORM == "BN" and second.config.MODEL.FPN.REPEATS == 2
    assert second.config.MODEL.ABCNET.ADAPTIVE_TRAINING and not first.config.MODEL.ABCNET.ADAPTIVE_TRAINING
    tcm = matched.config.MODEL.TCM
    assert matched.config.MODEL.BACKBONE.NAME == "tcm_cr50" and tcm.SPOTTER_LEVEL == "p4"
    assert (tcm.NUM_CONTEXTS, tcm.CONTEXT_LENGTH, tcm.DECODER_LAYERS, tcm.PROMPT_KIND) == (
        4,
        14,
        3,
        "predefined+learnable",
    )
    assert not first.config.MODEL.TCM.SPOTTER_LEVEL


def test_abcnet_with_the_matching_on_p4_rebuilds_and_runs(tmp_path: Path) -> None:
    torch.save({"model": state_of(*V1) | state_of(*MATCHING)}, tmp_path / "tcm.pth")
    spotter = Spotter.from_checkpoint(tmp_path / "tcm.pth", device="cpu", overrides=SMALL)
    os.unlink(tmp_path / "tcm.pth")
    images, _ = spotter.model.batcher([torch.from_numpy(picture()).permute(2, 0, 1)])
    with torch.inference_mode():
        output = spotter.model.backbone(images)
        plain = spotter.model.backbone.bottom_up(images).features
    assert output.text_logits.shape == (1, 1, *plain["p4"].shape[-2:])
    # The score is added to every channel of p4 alone.
    difference = output.features["p4"] - plain["p4"]
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), atol=1e-3, rtol=0)
    assert difference.abs().max() > 1e-3 and torch.equal(output.features["p3"], plain["p3"])


@pytest.mark.parametrize("wrap", ["model", "state_dict", "bare", "parallel"])
def test_every_wrapping_is_recognised(wrap: str) -> None:
    state: dict[str, Any] = shapes_of(V1)
    content = {
        "model": {"model": state, "optimizer": {}, "iteration": 3},
        "state_dict": {"meta": {"epoch": 1}, "state_dict": state, "optimizer": {}},
        "bare": state,
        "parallel": {"model": {f"module.{key}": value for key, value in state.items()}},
    }[wrap]
    found = read_published(content)
    assert found.head == "abcnet" and "head.cls_logits.weight" in found.weights
    assert found.iteration == (3 if wrap == "model" else 0)


def test_normalisation_stored_in_old_files_is_used() -> None:
    state = shapes_of(V1) | {
        "pixel_mean": torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1) + 1,
        "pixel_std": torch.full((3, 1, 1), 57.0),
    }
    found = read_published(state)
    assert found.config.MODEL.PIXEL_MEAN == [104.53, 117.28, 124.675] and found.config.MODEL.PIXEL_STD == [57.0] * 3
    assert not [key for key in found.weights if "pixel" in key]


def test_safetensors_under_published_names(tmp_path: Path) -> None:
    save_file(state_of(*V1), tmp_path / "a.safetensors")
    assert read_checkpoint(tmp_path / "a.safetensors").config.MODEL.META_ARCHITECTURE == "ABCNet"


@pytest.mark.parametrize("dataset", ["pretrain", "totaltext", "ctw1500", "icdar2015"])
@pytest.mark.parametrize(("kind", "folder"), [(V1, ""), (V2, "v2/")])
def test_the_configurations_of_abcnet_fit_the_published_files(kind: tuple[str, str], folder: str, dataset: str) -> None:
    found = read_published(shapes_of(kind))
    given = load_config(CONFIGS / "abcnet" / folder / dataset / "imagenet_r50.yaml")
    travelling = [key for key in TRAVELLING_KEYS if key in found.options]
    check_same_inputs(found.config, given, "published.pth", keys=travelling)
    with torch.device("meta"):
        model = build_model(given, weights=False)
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert own == {key: tuple(value.shape) for key, value in found.weights.items()}


def test_another_vocabulary_names_both(v1: Path) -> None:
    state = shapes_of(V1)
    state["roi_heads.recognizer.attention.out.weight"] = torch.empty(5463, 256, device="meta")
    given = load_config(CONFIGS / "abcnet" / "totaltext" / "imagenet_r50.yaml")
    with pytest.raises(CheckpointError, match=r"CHARSET is 5461 characters, .* in the checkpoint and 'ascii' in the"):
        check_same_inputs(read_published(state).config, given, "chinese.pth")
    message = r"MODEL.TEXT.CHARSET is 'ascii' in the checkpoint and 'lower36' in the configuration"
    with pytest.raises(CheckpointError, match=message):
        Spotter.from_checkpoint(v1, device="cpu", overrides=["MODEL.TEXT.CHARSET", "lower36"])


def test_another_maximum_length_names_both(tiny_weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"MODEL\.TEXT\.MAX_LENGTH is 6 in the checkpoint and 100"):
        Spotter.from_checkpoint(tiny_weights, device="cpu", overrides=["MODEL.TEXT.MAX_LENGTH", "100"])


def test_what_the_file_does_not_tell_may_be_set(v1: Path) -> None:
    overrides = ["MODEL.TEXT.MAX_LENGTH", "100", "MODEL.ABCNET.POOLER_RESOLUTION", "[8, 128]"]
    spotter = Spotter.from_checkpoint(v1, device="cpu", overrides=overrides)
    assert spotter.model.recognizer.decoder.max_length == 100
    assert spotter.model.recognizer.pooler.output_size == (8, 128)


def test_missing_and_left_over_weights_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = state_of(*V1)
    del state["roi_heads.recognizer.attention.vat.bias"]
    state["roi_heads.extra.weight"] = torch.zeros(1)
    torch.save({"model": state}, tmp_path / "odd.pth")
    message = r"odd\.pth.*missing: recognizer\.decoder\.score\.bias; left over: roi_heads\.extra\.weight"
    with pytest.raises(CheckpointError, match=message):
        Spotter.from_checkpoint(tmp_path / "odd.pth", device="cpu")
    with caplog.at_level(logging.WARNING):
        Spotter.from_checkpoint(tmp_path / "odd.pth", device="cpu", overrides=["MODEL.WEIGHTS_STRICT", "False"])
    assert "recognizer.decoder.score.bias" in caplog.text and "roi_heads.extra.weight" in caplog.text


@pytest.mark.parametrize(
    ("file", "gone", "missing"),
    [
        ("dbnet_r50", "bbox_head.binarize.3.bias", "head.binarize.3.bias"),
        ("pan_r50", "neck.reduce_conv_c2.0.bias", "neck.reduce_conv_c2.0.bias"),
        ("fcenet_r50", "bbox_head.out_conv_reg.bias", "head.out_conv_reg.bias"),
    ],
)
def test_detectors_in_the_layout_of_mmcv_name_what_they_lack(
    file: str, gone: str, missing: str, tmp_path: Path
) -> None:
    state = {key: torch.zeros(shape) for key, shape in manifest("detectors", file).items() if key != gone}
    content = {"meta": {"epoch": 1200, "iter": 9600, "CLASSES": ("text",)}, "state_dict": state, "optimizer": {}}
    torch.save(content, tmp_path / "epoch_1200.pth")
    with pytest.raises(CheckpointError, match=rf"epoch_1200\.pth.*missing: {re.escape(missing)}"):
        Spotter.from_checkpoint(tmp_path / "epoch_1200.pth", device="cpu")
    state[gone] = torch.zeros(manifest("detectors", file)[gone])
    torch.save(content, tmp_path / "epoch_1200.pth")
    stored = read_checkpoint(tmp_path / "epoch_1200.pth")
    assert stored.config.MODEL.META_ARCHITECTURE.lower() == file.removesuffix("_r50")
    assert missing in stored.weights and len(stored.weights) == len(state)


def test_the_matching_alone_is_no_model() -> None:
    with pytest.raises(CheckpointError, match=r"TCM's matching, but no detector or spotter known here \(abcnet"):
        read_published(shapes_of(MATCHING))


def test_weights_that_are_no_tensors_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"top_module.bias is a list, not a tensor"):
        read_published(shapes_of(V1) | {"top_module.bias": [0.0] * 16})
    assert read_published({"model": {"weight": torch.zeros(1)}}) is None


class Harmful:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.arguments


@pytest.mark.parametrize(
    "harm",
    [
        Harmful(os.system, "touch harm_was_done"),
        Harmful(Path.touch, Path("harm_was_done")),
        Harmful(eval, "open('harm_was_done', 'w')"),
        Harmful(np.load, "harm.npy"),
        np.dtype("O"),
        np.zeros(2),
    ],
    ids=["system", "touch", "eval", "load", "object dtype", "array"],
)
def test_pickled_code_and_other_types_are_refused(
    harm: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"top_module.bias": torch.zeros(16)}, "optimizer": {"lr": harm}}, "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth.*cannot be read safely") as error:
        read_checkpoint("evil.pth")
    assert not Path("harm_was_done").exists()
    assert "\n" not in str(error.value) and "can still be loaded" not in str(error.value)


def test_scalars_written_under_numpy_1_are_read(tmp_path: Path) -> None:
    torch.save({"model": {}, "lr": np.float64(0.5)}, tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_torch_file(tmp_path / "old.pth")["lr"] == 0.5


def test_files_in_the_format_before_pytorch_1_6_are_read(tmp_path: Path) -> None:
    content = {"model": state_of(*V1), "optimizer": {"lr": np.float64(0.5)}, "iteration": 7}
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found = read_checkpoint(tmp_path / "old.pth")
    assert found.iteration == 7 and found.config.MODEL.META_ARCHITECTURE == "ABCNet"
    evil = {"model": {}, "optimizer": Harmful(os.system, "true")}
    torch.save(evil, tmp_path / "evil.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"evil\.pth.*cannot be read safely"):
        read_checkpoint(tmp_path / "evil.pth")


TOTALTEXT = ("deepsolo", "deepsolo_r50_totaltext")
TESTR = ("testr", "testr_r50_polygon")


@pytest.mark.parametrize(
    ("kind", "dataset", "message"),
    [
        (
            TOTALTEXT,
            "ctw1500",
            r"CHARSET is 'lower36' in the .*; MODEL\.TEXT\.MAX_LENGTH is 25 in the checkpoint and 50",
        ),
        (TESTR, "ctw1500", r"configuration: MODEL\.TEXT\.MAX_LENGTH is 25 in the checkpoint and 100 in the config"),
        (TOTALTEXT, "icdar2015", ""),
        (TESTR, "totaltext", ""),
    ],
)
def test_a_transformer_for_another_dataset_names_vocabulary_and_length(
    kind: tuple[str, str], dataset: str, message: str
) -> None:
    found = read_published({key: torch.zeros(()).expand(shape) for key, shape in manifest(*kind).items()})
    given = load_config(CONFIGS / kind[0] / dataset / "imagenet_r50.yaml")
    keys = [key for key in TRAVELLING_KEYS if key in found.options]
    if not message:
        check_same_inputs(found.config, given, "published.pth", keys=keys)
        return
    with pytest.raises(CheckpointError, match=message):
        check_same_inputs(found.config, given, "published.pth", keys=keys)


def test_truncated_files_and_pickles_get_one_line(v1: Path, tmp_path: Path) -> None:
    content = v1.read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1000):
        (tmp_path / "cut.pth").write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=r"cut\.pth.*cannot be read safely") as error:
            read_checkpoint(tmp_path / "cut.pth")
        assert "\n" not in str(error.value)
    (tmp_path / "R-50.pkl").write_bytes(b"\x80\x02}.")
    with pytest.raises(FastTCMError, match=r"R-50\.pkl.*pickle.*torch\.save"):
        read_checkpoint(tmp_path / "R-50.pkl")
