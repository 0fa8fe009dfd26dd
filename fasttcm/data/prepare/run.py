"""Prepare a dataset: every split of a source, read, written, and described."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fasttcm.data.prepare.archive import is_archive
from fasttcm.data.prepare.card import check_destination, make_card, write_card
from fasttcm.data.prepare.lexicons import copy_lexicons
from fasttcm.data.prepare.recipes import Recipe, find_recipe
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.prepare.writer import Figures, SplitWriter
from fasttcm.data.problems import Problems
from fasttcm.errors import ConfigError, DataError

__all__ = ["PreparedSplit", "prepare_dataset"]

ORDERS = ("auto", "given")
IMAGES = ("link", "copy")


@dataclass
class PreparedSplit:
    """What became of one split.

    Attributes:
        split: its name; empty for a dataset without splits.
        path: the index written; ``None`` for a split that could not be prepared.
        card: its card.
        figures: counts.
        problems: what was skipped or put right.
        missing: why there is no such split; empty if there is.
    """

    split: str
    path: Path | None = None
    card: dict[str, Any] = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)
    problems: Problems = field(default_factory=Problems)
    missing: str = ""


def prepare_dataset(
    name: str,
    source: str | Path,
    destination: str | Path,
    *,
    splits: Sequence[str] = (),
    images: str = "link",
    order: str = "auto",
    strict: bool = False,
    verify: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> list[PreparedSplit]:
    """Write ``destination/<split>/{annotations.json, images, card.json, lexicons/}`` for every split of the source.

    A dataset without splits goes to ``destination`` itself. Running again gives the same bytes; an interrupted run
    leaves an earlier index as it was and goes on with the images where it stopped.

    Args:
        name: a key of :data:`~fasttcm.data.prepare.recipes.RECIPES`.
        source: folder or archive as published; for formats with the option ``annotations`` also such a file.
        destination: folder, made if missing.
        splits: which ones; by default all that the source holds.
        images: ``link`` (to the folder, or hard links) or ``copy``.
        order: ``auto`` finds the first corner and the direction of reading, ``given`` takes the publisher's.
        strict: fail at the first problem.
        verify: decode every image instead of only reading its header.
        options: what the recipe's reader takes besides.
        progress: show a bar on standard error if that is a terminal.

    Returns:
        One result for each split asked for, those that the source lacks included (but for formats of one's own, which
        need no splits).

    Raises:
        DataError: an unknown name, a source that cannot be used or holds no split, in strict mode any problem.
        ConfigError: an option that the dataset does not have.
    """
    recipe = find_recipe(name)
    options = dict(options or {})
    wanted = _check_options(recipe, splits, images, order, options)
    source_path, folder = _folder_of(recipe, Path(source).expanduser(), options), Path(destination).expanduser()
    _check_places(source_path, folder)
    results = []
    with Source.open(source_path, scratch=folder) as files:
        for split in wanted:
            writing = _SplitRun(recipe, split, files, folder / split, strict=strict, progress=progress)
            try:
                results.append(writing.run(images=images, order=order, verify=verify, options=options))
            except MissingSplitError as error:
                if splits:
                    where = f"{source}: no split {split!r} of {recipe.title} in it"
                    raise DataError(f"{where}: {error}; expected {recipe.expected}") from error
                results.append(PreparedSplit(split, missing=str(error)))
            except OSError as error:
                place = error.filename or folder / split
                raise DataError(f"{place}: cannot be read or written ({error.strerror or error})") from error
    found = [result for result in results if not result.missing]
    if not found:
        raise DataError(f"{source}: nothing of {recipe.title} in it: {results[0].missing}; expected {recipe.expected}")
    return found if "" in recipe.splits else results


def _check_options(
    recipe: Recipe, splits: Sequence[str], images: str, order: str, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Raise for what the dataset does not have; returns the splits to prepare."""
    for value, known in ((images, IMAGES), (order, ORDERS)):
        if value not in known:
            raise ConfigError(f"{value!r} is none of {', '.join(known)}")
    for option in options:
        if option not in recipe.options:
            names = ", ".join(f"--{one.replace('_', '-')}" for one in recipe.options) or "none"
            raise ConfigError(f"{recipe.name} has no option --{option.replace('_', '-')}; its own options: {names}")
    for split in splits:
        if split not in recipe.splits:
            raise ConfigError(f"{recipe.name} has no split {split!r}; its splits: {', '.join(recipe.splits) or 'none'}")
    return tuple(splits) or recipe.splits


def _folder_of(recipe: Recipe, source: Path, options: dict[str, Any]) -> Path:
    """The folder with the pictures of an annotation file that is the source itself; the file becomes an option.

    It is the file's folder, or the one above if that is called ``annotations``.
    """
    if "annotations" not in recipe.options or not source.is_file() or is_archive(source.name):
        return source
    folder = source.parent.parent if source.parent.name.lower() == "annotations" else source.parent
    options["annotations"] = source.relative_to(folder).as_posix()
    return folder


def _check_places(source: Path, folder: Path) -> None:
    """The result must not become part of what it is made from."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder for the dataset")
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{folder} lies inside the source {source}; choose a folder outside it")


class _SplitRun:
    """One split from the reader to the card."""

    def __init__(
        self, recipe: Recipe, split: str, source: Source, folder: Path, *, strict: bool, progress: bool
    ) -> None:
        self.recipe, self.split, self.source, self.folder = recipe, split, source, folder
        self.problems = Problems(strict=strict)
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, console=console, disable=not (progress and console.is_terminal))

    def run(self, *, images: str, order: str, verify: bool, options: Mapping[str, Any]) -> PreparedSplit:
        """Write it; arguments and errors as :func:`prepare_dataset`."""
        recipe, split = self.recipe, self.split
        name = f"{recipe.name}_{split}" if split else recipe.name
        pictures = iter(recipe.reader(self.source, split=split, problems=self.problems, **options))
        first = next(pictures, None)  # a reader without this split says so here, before anything is made
        check_destination(self.folder, name)
        writer = SplitWriter(
            self.source,
            self.folder,
            problems=self.problems,
            categories=recipe.categories(self.source) if callable(recipe.categories) else recipe.categories,
            link=images == "link",
            ordered=order == "given",
            verify=verify,
        )
        with self.bar:
            reading = self.bar.add_task(f"{name}: annotations", total=recipe.images.get(split))
            collected = writer.collect(self._counted(chain([] if first is None else [first], pictures), reading))
            placing = self.bar.add_task(f"{name}: images", total=writer.figures.images)
            for _ in self._counted(writer.finish(collected), placing):
                pass
        card = make_card(
            recipe,
            split,
            figures=writer.figures,
            problems=self.problems,
            lexicons=copy_lexicons(self.source, recipe.lexicons, split, self.folder),
            options={"images": images, "order": order, "strict": self.problems.strict, "verify": verify, **options},
            sha256=writer.digest(),
        )
        write_card(self.folder, card)
        return PreparedSplit(split, writer.publish(), card, writer.figures, self.problems)

    def _counted(self, items: Iterable[Any], task: TaskID) -> Iterable[Any]:
        """The items, with a step of the bar for each."""
        for item in items:
            yield item
            self.bar.advance(task)
