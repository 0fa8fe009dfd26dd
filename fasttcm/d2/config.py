"""One YAML file for both hosts: our keys inside a detectron2 configuration, and back.

For one of **our** heads every key has our meaning and our default, also where detectron2 has a key of the same name, so
a file does the same in both hosts. For **any other** meta-architecture detectron2's defaults stay, and our keys are
only added.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode, get_cfg

from fasttcm.config import apply_overrides, config_from_yaml, get_defaults
from fasttcm.engine.build import project_names
from fasttcm.errors import ConfigError

__all__ = ["add_fasttcm_config", "is_own_head", "load_d2_config", "to_fasttcm_config"]

MATCHED_ARCHITECTURE = "WithMatchingLoss"
"""Name of the meta-architecture that adds the matching loss to another one."""


def add_fasttcm_config(cfg: CfgNode) -> None:
    """Add our keys to a detectron2 configuration; a key that is there already keeps its value and meaning.

    Besides those of :func:`fasttcm.config.get_defaults` there are ``MODEL.TCM.META_ARCHITECTURE`` (what
    ``WithMatchingLoss`` wraps) and ``MODEL.FPN.TOP_BLOCK_INPUT`` (``p5`` as FCOS and ABCNet, ``res5`` as RetinaNet).
    """
    _add(cfg, get_defaults())
    cfg.MODEL.TCM.setdefault("META_ARCHITECTURE", "GeneralizedRCNN")
    cfg.MODEL.FPN.setdefault("TOP_BLOCK_INPUT", "p5")


def _add(node: CfgNode, defaults: Any) -> None:
    for key, value in defaults.items():
        if isinstance(value, dict):
            if key not in node:
                node[key] = CfgNode()
            _add(node[key], value)
        elif key not in node:
            node[key] = value


def is_own_head(name: str) -> bool:
    """Whether a meta-architecture is one of ours, in any case of letters."""
    return name.lower() in project_names()


def load_d2_config(file: str | Path | None, overrides: Sequence[str] = ()) -> CfgNode:
    """The complete, frozen configuration of a run under detectron2.

    Args:
        file: a YAML file of either project, with ``_BASE_``; ``None`` for the defaults.
        overrides: ``KEY VALUE`` pairs.

    Raises:
        ConfigError: a file that cannot be read; keys that neither project knows, all listed with the nearest known.
    """
    content = dict(_leaves(_read(file))) if file is not None else {}
    if len(overrides) % 2:
        raise ConfigError(f"overrides are KEY VALUE pairs, but {overrides[-1]!r} has no value")
    given = dict(zip(overrides[::2], overrides[1::2], strict=True))
    cfg = get_cfg()
    add_fasttcm_config(cfg)
    theirs = {key for key, _ in _leaves(cfg)}
    _refuse_unknown([*content, *given], theirs, "the command line" if file is None else str(file))
    name = given.get("MODEL.META_ARCHITECTURE") or content.get("MODEL.META_ARCHITECTURE", "")
    ours: set[str] = set()
    if is_own_head(str(name)):
        own = config_from_yaml(_as_yaml(content, known=_own_keys()), str(file))
        own = apply_overrides(own, [text for pair in given.items() if pair[0] in _own_keys() for text in pair])
        for key, value in _leaves(own):
            _assign(cfg, key, value)
        ours = _own_keys()
    for key, value in content.items():
        if key not in ours:
            _merge(cfg, key, value, str(file))
    for key, text in given.items():
        if key not in ours:
            _merge(cfg, key, text, "the command line")
    if cfg.SOLVER.PRECISION != "fp32":
        cfg.SOLVER.AMP.ENABLED = True
    cfg.freeze()
    return cfg


def to_fasttcm_config(cfg: CfgNode) -> Any:
    """Our configuration, frozen, with the values that a detectron2 configuration has under our keys.

    Raises:
        ConfigError: a value that we do not know, e.g. a detectron2 builder as ``MODEL.BACKBONE.NAME`` of our head.
    """
    own = get_defaults()
    values = dict(_leaves(cfg))
    for key, default in list(_leaves(own)):
        value = values[key]
        _assign(own, key, list(value) if isinstance(default, list) and isinstance(value, tuple) else value)
    return apply_overrides(own, [])


def _read(file: str | Path) -> dict[str, Any]:
    if not Path(file).is_file():
        raise ConfigError(f"config file {str(file)!r} does not exist")
    try:
        content: dict[str, Any] = CfgNode.load_yaml_with_base(str(file), allow_unsafe=False)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"config file {str(file)!r} cannot be read: {' '.join(str(error).split())}") from error
    return content


def _leaves(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _own_keys() -> set[str]:
    return {key for key, _ in _leaves(get_defaults())}


def _refuse_unknown(keys: Sequence[str], known: set[str], source: str) -> None:
    unknown = []
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            unknown.append(key + (f" (did you mean {near[0]}?)" if near else ""))
    if unknown:
        raise ConfigError(f"{source}: neither fasttcm nor detectron2 knows {', '.join(unknown)}")


def _as_yaml(leaves: dict[str, Any], *, known: set[str]) -> str:
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        if key in known:
            *parents, last = key.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
    return yaml.safe_dump(tree)


def _assign(cfg: Any, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        cfg = cfg[parent]
    cfg[last] = value


def _merge(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    try:
        cfg.merge_from_list([key, value])
    except (ValueError, AssertionError, KeyError) as error:
        raise ConfigError(f"{source}: {key}: {' '.join(str(error).split())}") from error
