"""Configuration: every key with its default, and reading YAML files that state only what differs.

Keys are detectron2's and AdelaiDet's where the meaning is the same. No model reads a configuration: ``engine`` and
each project's ``build.py`` translate keys into constructor arguments.
"""

from fasttcm.config.defaults import CHOICES, get_defaults
from fasttcm.config.loading import apply_overrides, config_from_yaml, load_config

__all__ = ["CHOICES", "apply_overrides", "config_from_yaml", "get_defaults", "load_config"]
