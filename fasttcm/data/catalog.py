"""Datasets by name or by path.

A name stands for files under one root folder: the environment variable ``FASTTCM_DATASETS``, by default ``./datasets``.
Names of published datasets are in :mod:`fasttcm.data.builtin`. A path needs no registration: a folder with
``annotations.json`` and ``images/``, or a JSON file.
"""

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fasttcm.charset import Charset
from fasttcm.data.builtin import BUILTIN_DATASETS, MODELS_OWN, BuiltinDataset
from fasttcm.data.coco import TextDataset
from fasttcm.errors import DataError

__all__ = [
    "DATASETS_ROOT_VARIABLE",
    "DatasetEntry",
    "datasets_root",
    "known_datasets",
    "load_dataset",
    "load_entry",
    "register_dataset",
    "resolve_dataset",
    "resolve_splits",
]

DATASETS_ROOT_VARIABLE = "FASTTCM_DATASETS"
DEFAULT_ROOT = "datasets"
DEFAULT_PROTOCOL = "totaltext"
ANNOTATIONS_FILE = "annotations.json"
CARD_FILE = "card.json"


@dataclass(frozen=True)
class DatasetEntry:
    """Where a dataset is and how it is scored.

    Attributes:
        name: what messages and reports call it.
        annotation_file: the COCO-style JSON.
        image_root: its image folder; ``None`` leaves that to the JSON (see :meth:`TextDataset.from_json`).
        protocol: evaluation protocol; its figures come first.
        lexicons: lexicon name (``full``, ``strong``, ...) -> word file, or folder with one for each image.
        license: licence as published.
        source: where the publisher offers it.
        rec_charset: characters that the numbers of ``rec`` stand for; ``None`` for the 95 printable ASCII characters.
        rec_of_model: the numbers of ``rec`` stand for the characters of the model that the dataset is loaded for.
        lexicon_pairs: lexicon name -> file with the spellings of its words, where there is one.
        more_protocols: protocols it is scored by besides ``protocol``.
    """

    name: str
    annotation_file: Path
    image_root: Path | None = None
    protocol: str = DEFAULT_PROTOCOL
    lexicons: Mapping[str, Path] = field(default_factory=dict)
    license: str = ""
    source: str = ""
    rec_charset: Charset | None = None
    lexicon_pairs: Mapping[str, Path] = field(default_factory=dict)
    more_protocols: tuple[str, ...] = ()
    rec_of_model: bool = False


_REGISTERED: dict[str, DatasetEntry] = {}


def register_dataset(
    name: str,
    annotation_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    *,
    protocol: str = DEFAULT_PROTOCOL,
    lexicons: Mapping[str, str | os.PathLike[str]] | None = None,
    license: str = "",
    source: str = "",
    rec_charset: Charset | None = None,
    lexicon_pairs: Mapping[str, str | os.PathLike[str]] | None = None,
    more_protocols: Sequence[str] = (),
) -> None:
    """Give a dataset a name. Relative paths are relative to the datasets root at the time of use.

    Args:
        name: the name for ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        annotation_file: the COCO-style JSON; need not exist yet.
        image_root: its image folder.
        protocol: evaluation protocol.
        lexicons: lexicon name -> file or folder.
        license: licence as published.
        source: where the publisher offers it.
        rec_charset: see :class:`DatasetEntry`.
        lexicon_pairs: likewise.
        more_protocols: likewise.

    Raises:
        DataError: the name is taken by another dataset.
    """
    entry = DatasetEntry(
        name,
        Path(annotation_file),
        None if image_root is None else Path(image_root),
        protocol,
        {key: Path(value) for key, value in (lexicons or {}).items()},
        license,
        source,
        rec_charset,
        {key: Path(value) for key, value in (lexicon_pairs or {}).items()},
        tuple(more_protocols),
    )
    if name in BUILTIN_DATASETS:
        raise DataError(f"dataset name {name!r} is that of a published dataset; choose another one")
    if _REGISTERED.setdefault(name, entry) != entry:
        raise DataError(f"dataset name {name!r} is already registered for {_REGISTERED[name].annotation_file}")


def known_datasets() -> list[str]:
    """Registered and published names, sorted."""
    return sorted({*_REGISTERED, *BUILTIN_DATASETS})


def datasets_root() -> Path:
    """The folder that relative paths of registered datasets start from."""
    return Path(os.environ.get(DATASETS_ROOT_VARIABLE) or DEFAULT_ROOT)


def resolve_dataset(name_or_path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> DatasetEntry:
    """Find a dataset: a registered or published name, a folder, a JSON file, or a prepared folder under the root.

    Args:
        name_or_path: looked up in that order. A folder holds ``annotations.json``, ``images/`` and, if wanted,
            ``card.json`` with ``protocol`` (a name or a list of names), ``lexicons`` (name -> file or folder in the
            folder, or ``{"words": ..., "pairs": ...}``), ``license`` and ``source``.
        root: instead of :func:`datasets_root`.

    Returns:
        The entry, with paths that start at the root; the files of a name need not exist. A published name stands for
        the first of its places that does, or else for the folder that ``fasttcm prepare`` would write.

    Raises:
        DataError: an unknown name (with the nearest known ones), a path that does not exist, a folder without
            ``annotations.json``, a broken card.
    """
    text = os.fspath(name_or_path)
    base = Path(root) if root is not None else datasets_root()
    if text in _REGISTERED:
        entry = _REGISTERED[text]
        return replace(
            entry,
            annotation_file=base / entry.annotation_file,
            image_root=None if entry.image_root is None else base / entry.image_root,
            lexicons={key: base / value for key, value in entry.lexicons.items()},
            lexicon_pairs={key: base / value for key, value in entry.lexicon_pairs.items()},
        )
    if text in BUILTIN_DATASETS:
        return _builtin_entry(text, BUILTIN_DATASETS[text], base)
    path = Path(text).expanduser()
    for folder in (path, base / path):
        if folder.is_dir():
            return _folder_entry(folder)
    if path.is_file() or path.suffix == ".json":
        if not path.is_file():
            raise DataError(f"annotation file not found: {path}")
        return DatasetEntry(name=path.stem, annotation_file=path)
    near = difflib.get_close_matches(text, known_datasets(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"known names: {', '.join(known_datasets())}"
    raise DataError(f"unknown dataset {text!r}: neither a registered name nor a folder or JSON file here; {hint}")


def load_dataset(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    charset: Charset | None = None,
    filter_empty: bool = False,
    strict: bool = False,
) -> TextDataset:
    """Resolve a dataset and read it; arguments as :func:`resolve_dataset` and :meth:`TextDataset.from_json`.

    Raises:
        DataError: as those two; a registered dataset whose files are missing says where they are expected.
    """
    entry = resolve_dataset(name_or_path, root)
    builtin = BUILTIN_DATASETS.get(os.fspath(name_or_path))
    if builtin is not None and not entry.annotation_file.is_file():
        raise DataError(_how_to_get(entry.name, builtin, Path(root) if root is not None else datasets_root()))
    return load_entry(entry, charset=charset, filter_empty=filter_empty, strict=strict)


def load_entry(
    entry: DatasetEntry, *, charset: Charset | None = None, filter_empty: bool = False, strict: bool = False
) -> TextDataset:
    """Read a dataset that was resolved; arguments and errors as :func:`load_dataset`."""
    for path, what in ((entry.annotation_file, "annotation file"), (entry.image_root, "image folder")):
        if path is not None and not path.exists():
            where = f" It is offered at {entry.source}." if entry.source else ""
            raise DataError(
                f"dataset {entry.name}: {what} expected at {path} (root: {DATASETS_ROOT_VARIABLE}); see "
                f"datasets/README.md for the layout.{where}"
            )
    return TextDataset.from_json(
        entry.annotation_file,
        entry.image_root,
        charset=charset,
        rec_charset=charset if entry.rec_of_model else entry.rec_charset,
        name=entry.name,
        filter_empty=filter_empty,
        strict=strict,
    )


def resolve_splits(
    name_or_path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> list[DatasetEntry]:
    """:func:`resolve_dataset`, or every split of a folder that ``fasttcm prepare`` wrote, by name.

    Raises:
        DataError: as there; a published name whose files are missing says how to get them.
    """
    base = Path(root) if root is not None else datasets_root()
    text = os.fspath(name_or_path)
    path = Path(text).expanduser()
    if text not in _REGISTERED and text not in BUILTIN_DATASETS:
        for folder in (path, base / path):
            splits = sorted(file.parent for file in folder.glob(f"*/{ANNOTATIONS_FILE}"))
            if splits and not (folder / ANNOTATIONS_FILE).is_file():
                whole = folder.resolve().name
                return [replace(_folder_entry(split), name=f"{whole}_{split.name}") for split in splits]
    entry = resolve_dataset(name_or_path, root)
    if text in BUILTIN_DATASETS and not entry.annotation_file.is_file():
        raise DataError(_how_to_get(text, BUILTIN_DATASETS[text], base))
    return [entry]


def _builtin_entry(name: str, dataset: BuiltinDataset, base: Path) -> DatasetEntry:
    """The first place of a published dataset that exists."""
    folder = base / dataset.folder
    if (folder / ANNOTATIONS_FILE).is_file():
        entry = _folder_entry(folder)
        protocol = entry.protocol if (folder / CARD_FILE).is_file() else dataset.protocol
        return replace(entry, name=name, protocol=protocol)
    for place in dataset.places:
        if (base / place.annotation_file).is_file():
            return DatasetEntry(
                name=name,
                annotation_file=base / place.annotation_file,
                image_root=base / place.image_root,
                protocol=dataset.protocol,
                rec_charset=Charset.named(place.rec) if place.rec != MODELS_OWN else None,
                rec_of_model=place.rec == MODELS_OWN,
            )
    return DatasetEntry(name=name, annotation_file=folder / ANNOTATIONS_FILE, protocol=dataset.protocol)


def _how_to_get(name: str, dataset: BuiltinDataset, base: Path) -> str:
    """One line about a published dataset that is not there."""
    from fasttcm.data.prepare.recipes import RECIPES  # all readers, which nothing else here needs

    if dataset.command:
        return f"dataset {name}: not at {base / dataset.folder} yet; make it: {dataset.command} {base / dataset.folder}"
    recipe = RECIPES[dataset.recipe]
    destination = base / dataset.folder.partition("/")[0]  # its splits are prepared together
    elsewhere = f", nor at {base / dataset.places[0].annotation_file}" if dataset.places else ""
    return (
        f"dataset {name}: not at {base / dataset.folder} (root: {DATASETS_ROOT_VARIABLE}){elsewhere}. The publisher "
        f"offers it at {dataset.source or recipe.source}; then: fasttcm prepare {recipe.name} SRC {destination}"
    )


def _folder_entry(folder: Path) -> DatasetEntry:
    """The dataset in a folder as ``fasttcm synth`` and ``fasttcm prepare`` write it."""
    annotation_file = folder / ANNOTATIONS_FILE
    if not annotation_file.is_file():
        raise DataError(f"{folder}: no {ANNOTATIONS_FILE} in this folder, so it is not a dataset")
    name = folder.resolve().name
    card_file = folder / CARD_FILE
    if not card_file.is_file():
        return DatasetEntry(name=name, annotation_file=annotation_file)
    try:
        card = json.loads(card_file.read_text(encoding="utf-8-sig"))
        files = {str(key): _lexicon_files(value) for key, value in dict(card.get("lexicons") or {}).items()}
        named = card.get("protocol") or DEFAULT_PROTOCOL
        protocols = [named] if isinstance(named, str) else [str(name) for name in named]
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise DataError(f"{card_file}: not a valid dataset card: {error}") from error
    lexicons = {key: folder / words for key, (words, _) in files.items()}
    pairs = {key: folder / listed for key, (_, listed) in files.items() if listed is not None}
    for lexicon in [*lexicons.values(), *pairs.values()]:
        if not lexicon.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{card_file}: lexicon {lexicon} lies outside the dataset's folder")
    return DatasetEntry(
        name=name,
        annotation_file=annotation_file,
        protocol=protocols[0],
        lexicons=lexicons,
        license=str(card.get("license") or ""),
        source=str(card.get("source") or ""),
        lexicon_pairs=pairs,
        more_protocols=tuple(protocols[1:]),
    )


def _lexicon_files(value: object) -> tuple[str, str | None]:
    """(words, pairs) of one lexicon of a card: a name, or an object with both."""
    if not isinstance(value, Mapping):
        return str(value), None
    pairs = value.get("pairs")
    return str(value["words"]), None if pairs is None else str(pairs)
