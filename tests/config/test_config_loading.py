from pathlib import Path

import pytest

from fasttcm.config import CHOICES, apply_overrides, config_from_yaml, get_defaults, load_config
from fasttcm.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_file_states_only_the_difference_from_its_base(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "SOLVER:\n  BASE_LR: 0.5\n  MAX_ITER: 7\n")
    file = write(tmp_path, "child.yaml", "_BASE_: base.yaml\nSOLVER:\n  MAX_ITER: 9\n")
    cfg = load_config(file, ["SEED", "3"])
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER, cfg.SEED) == (0.5, 9, 3)
    assert cfg.SOLVER.MOMENTUM == get_defaults().SOLVER.MOMENTUM


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (["SOLVER.BASE_LR", "1e-4"], 1e-4),
        (["SOLVER.BASE_LR", "1"], 1.0),
        (["SOLVER.STEPS", "(10, 20)"], [10, 20]),
        (["SOLVER.STEPS", "[10, 20]"], [10, 20]),
        (["DATASETS.TRAIN", "folder/a"], ["folder/a"]),
        (["INPUT.CROP.ENABLED", "False"], False),
        (["INPUT.CROP.ENABLED", "false"], False),
        (["MODEL.WEIGHTS", "w.pt"], "w.pt"),
    ],
)
def test_command_line_values(pair: list[str], expected: object) -> None:
    node = load_config(None, pair)
    for part in pair[0].split("."):
        node = node[part]
    assert node == expected and type(node) is type(expected)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (["SOLVER.BASELR", "1"], "unknown config key SOLVER.BASELR; did you mean SOLVER.BASE_LR?"),
        (["BASE_LR", "1"], "did you mean SOLVER.BASE_LR?"),
        (["MODEL.BACKBONE.NAME", "fasttcm_r50"], "did you mean 'fasttcm_cr50'"),
        (["SOLVER.MAX_ITER", "many"], "SOLVER.MAX_ITER must be of type int"),
        (["SOLVER.MAX_ITER", "True"], "SOLVER.MAX_ITER must be of type int"),
        (["SOLVER", "3"], "SOLVER must be a group of keys"),
        (["SOLVER.MAX_ITER"], "has no value"),
    ],
)
def test_mistakes_name_the_cure(pair: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(None, pair)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_file_mistakes_are_one_line(tmp_path: Path) -> None:
    cases = {
        "missing.yaml": None,
        "broken.yaml": "SOLVER: [1, 2\n",
        "list.yaml": "- 1\n- 2\n",
        "base.yaml": "_BASE_: nowhere.yaml\n",
        "code.yaml": "SEED: !!python/object/apply:os.getcwd []\n",
        "key.yaml": "SOLVR:\n  MAX_ITER: 1\n",
    }
    for name, text in cases.items():
        file = tmp_path / name if text is None else write(tmp_path, name, text)
        with pytest.raises(ConfigError) as error:
            load_config(file)
        assert name in str(error.value) and "\n" not in str(error.value), name


def test_yaml_round_trip_and_frozen() -> None:
    cfg = load_config(None, ["SOLVER.LR_MULTIPLIERS", "[['backbone', 0.1]]", "SEED", "5"])
    assert config_from_yaml(cfg.dump()) == cfg
    with pytest.raises(AttributeError):
        cfg.SEED = 1
    changed = apply_overrides(cfg, ["SEED", "6"])
    assert (cfg.SEED, changed.SEED) == (5, 6)


def test_every_choice_names_an_existing_key_with_an_allowed_default() -> None:
    for key, words in CHOICES.items():
        node = get_defaults()
        for part in key.split("."):
            node = node[part]
        assert node in words


@pytest.mark.parametrize("file", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda f: str(f.relative_to(ROOT)))
def test_shipped_configs_load(file: Path) -> None:
    load_config(file)
