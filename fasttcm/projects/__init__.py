"""One package per published head. In a checkout they live in the top-level ``projects/`` folder."""

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
if (_CHECKOUT / "pyproject.toml").is_file():
    __path__.append(str(_CHECKOUT / "projects"))
