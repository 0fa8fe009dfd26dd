"""Read YAML files (with ``_BASE_``) and ``KEY VALUE`` pairs over the defaults; every mistake is one clear line."""

import ast
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from fasttcm.config.defaults import CHOICES, get_defaults
from fasttcm.errors import ConfigError

__all__ = ["apply_overrides", "config_from_yaml", "load_config"]


def load_config(file: str | Path | None, overrides: Sequence[str] = ()) -> CfgNode:
    """The complete configuration, frozen.

    Args:
        file: a YAML file that states what differs from its ``_BASE_`` file or the defaults; ``None`` for the defaults.
        overrides: ``KEY VALUE KEY VALUE ...`` as on the command line, e.g. ``["SOLVER.BASE_LR", "0.001"]``.

    Raises:
        ConfigError: an unreadable file, an unknown key or word (the message names the nearest known one), a value of
            another type, or an odd number of overrides.
    """
    cfg = get_defaults()
    if file is not None:
        if not Path(file).is_file():
            raise ConfigError(f"config file {str(file)!r} does not exist")
        try:
            content = CfgNode.load_yaml_with_base(str(file), allow_unsafe=False)
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"config file {str(file)!r} cannot be read: {' '.join(str(error).split())}") from error
        _merge(cfg, content, str(file))
    return apply_overrides(cfg, overrides)


def apply_overrides(cfg: CfgNode, overrides: Sequence[str]) -> CfgNode:
    """A frozen copy with ``KEY VALUE`` pairs applied; see :func:`load_config` for errors."""
    cfg = cfg.clone()
    cfg.defrost()
    if len(overrides) % 2:
        raise ConfigError(f"overrides are KEY VALUE pairs, but {overrides[-1]!r} has no value")
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        _merge(cfg, _nested(key, _parse(value)), "the command line")
    _check_choices(cfg)
    cfg.freeze()
    return cfg


def config_from_yaml(text: str, source: str = "the checkpoint") -> CfgNode:
    """The complete configuration stored as YAML text, e.g. in a checkpoint; see :func:`load_config` for errors."""
    cfg = get_defaults()
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the configuration in {source} cannot be read: {' '.join(str(error).split())}") from error
    _merge(cfg, content, source)
    return apply_overrides(cfg, ())


def _parse(value: str) -> Any:
    """A value of the command line: a Python literal as in detectron2's commands, else YAML, else the word itself."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        pass
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _flat_keys(cfg: CfgNode, prefix: str = "") -> list[str]:
    keys = []
    for key, value in cfg.items():
        keys.append(prefix + key)
        if isinstance(value, CfgNode):
            keys += _flat_keys(value, f"{prefix}{key}.")
    return keys


def _merge(cfg: CfgNode, content: Any, source: str, prefix: str = "", root: CfgNode | None = None) -> None:
    root = cfg if root is None else root
    if not isinstance(content, dict):
        raise ConfigError(f"{source}: {prefix.rstrip('.') or 'the file'} must be a group of keys, got {content!r}")
    for key, value in content.items():
        name = f"{prefix}{key}"
        if key not in cfg:
            near = [k for k in _flat_keys(root) if k.startswith(name)][:1]
            near = near or difflib.get_close_matches(name, _flat_keys(root), n=1, cutoff=0.5)
            near = near or [k for k in _flat_keys(root) if k.rsplit(".", 1)[-1] == str(key).rsplit(".", 1)[-1]][:1]
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{source}: unknown config key {name}{hint}")
        if isinstance(cfg[key], CfgNode):
            _merge(cfg[key], value, source, f"{name}.", root)
        else:
            cfg[key] = _coerce(cfg[key], value, name, source)


def _coerce(default: Any, value: Any, name: str, source: str) -> Any:
    if isinstance(default, float) and isinstance(value, int | str) and not isinstance(value, bool):
        try:  # YAML reads 1e-4 as a word
            return float(value)
        except ValueError:
            pass
    if isinstance(default, list) and isinstance(value, tuple):
        return list(value)
    if isinstance(default, list) and isinstance(value, str) and value:
        return [value]  # one dataset instead of a list of one
    if isinstance(default, str) and value is None:
        return ""
    if type(default) is not type(value):
        expected = type(default).__name__
        raise ConfigError(f"{source}: {name} must be of type {expected} (like {default!r}), got {value!r}")
    return value


def _check_choices(cfg: CfgNode) -> None:
    for key, known in CHOICES.items():
        node: Any = cfg
        for part in key.split("."):
            node = node[part]
        if node not in known:
            near = difflib.get_close_matches(str(node), known, n=1, cutoff=0.0)
            raise ConfigError(f"{key} is {node!r}; did you mean {near[0]!r}? Known: {', '.join(known)}")
