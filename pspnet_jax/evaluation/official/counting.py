"""Finds which predictions and labels on disk belong together, and counts their pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from pspnet_jax.data.decode import read_ids
from pspnet_jax.data.image_files import image_files
from pspnet_jax.data.in_order import in_order
from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.official import cityscapes
from pspnet_jax.evaluation.official.benchmarks import Benchmark
from pspnet_jax.evaluation.official.counts import Counts, count_pixels

Ids = Literal['benchmark', 'class']


class Files(NamedTuple):
  """The files that belong to one image."""

  prediction: Path
  label: Path
  instances: Path | None  # Cityscapes: *_instanceIds.png


def pair(
  benchmark: Benchmark, predictions: Path, labels: Path, names: Collection[str] | None = None
) -> list[Files]:
  """Finds the prediction of every label, in any folders below the two; sorted by image.

  Args:
    benchmark: says which image a file belongs to.
    predictions, labels: folders of PNG files.
    names: the images to score, others are not looked at; None: all, and each file needs a partner.

  Raises:
    UserError: if a file is missing or superfluous; it names the first and says how many there are.
  """
  truth = _by_image(benchmark, labels, benchmark.label_ending)
  found = _by_image(benchmark, predictions, '.png')
  if names is not None:
    if unknown := [name for name in names if name not in truth]:
      raise UserError(
        f'{_first(unknown)} of the list has no label in {labels}: check the list and the folder.'
      )
    truth = {name: truth[name] for name in names}
  if missing := [label for name, label in truth.items() if name not in found]:
    raise UserError(
      f'{_first(missing)} has no prediction in {predictions}: predict every image, or name the '
      'images to score with --list=FILE.'
    )
  if names is None and (extra := [path for name, path in found.items() if name not in truth]):
    raise UserError(
      f'{_first(extra)} has no label in {labels}: remove it, or name the images to score with '
      '--list=FILE.'
    )
  instances = {name: _instances(label) for name, label in truth.items()}
  there = {name: path for name, path in instances.items() if path and path.is_file()}
  lacking = [path for name, path in instances.items() if name not in there]
  if there and lacking:
    raise UserError(
      f'{_first(lacking)} does not exist, and other images have theirs: complete {labels}.'
    )
  return [Files(found[name], truth[name], there.get(name)) for name in sorted(truth)]


def count(
  benchmark: Benchmark,
  files: Sequence[Files],
  *,
  ids: Ids = 'benchmark',
  threads: int | None = None,
  on_progress: Callable[[int], None] | None = None,
) -> Counts:
  """Counts all images, in parallel threads.

  Args:
    benchmark: says what the ids are.
    files: from `pair`.
    ids: what predictions hold: the benchmark's ids, or class ids 0, 1, ... as `predict` writes.
    threads: that read; None has one a CPU core.
    on_progress: called with the number of images done.

  Raises:
    UserError: for a file that cannot be read, is of another size than its label, or holds an id
      that it cannot hold.
  """
  total: Counts | None = None
  each: Iterator[Counts] = in_order(lambda f: _count_one(benchmark, f, ids), files, threads=threads)
  for done, counts in enumerate(each, 1):
    total = counts if total is None else total + counts
    if on_progress is not None:
      on_progress(done)
  if total is None:
    raise UserError('there is no image to score: check the folders.')
  return total


def _count_one(benchmark: Benchmark, files: Files, ids: Ids) -> Counts:
  label = read_ids(files.label)
  void = () if benchmark.void_id is None else (benchmark.void_id,)
  remedy = f'this is no label file of {benchmark.title}, so check the folder'
  _check_ids(files.label, label, benchmark.num_ids, void, remedy)
  prediction = read_ids(files.prediction)
  _check_size(files.prediction, prediction, files.label, label)
  if ids == 'class':
    remedy = 'predictions in the ids of the benchmark go without --ids=class'
    _check_ids(files.prediction, prediction, benchmark.spec.num_classes, (), remedy)
    prediction = np.array(benchmark.class_ids, np.uint8)[prediction]
  else:
    remedy = f'a prediction holds no other, whatever it means in labels ({benchmark.title})'
    _check_ids(files.prediction, prediction, benchmark.num_ids, (), remedy)
  pixels = count_pixels(label.astype(np.uint8), prediction.astype(np.uint8), benchmark.num_ids)
  if files.instances is None:
    return Counts(pixels)
  instances = read_ids(files.instances)
  _check_size(files.instances, instances, files.label, label)
  remedy = 'this is no instance file of Cityscapes, so check the folder'
  _check_ids(files.instances, instances, cityscapes.MAX_INSTANCE_ID + 1, (), remedy)
  return Counts(pixels, cityscapes.count_instances(instances, prediction))


def _by_image(benchmark: Benchmark, folder: Path, ending: str) -> dict[str, Path]:
  if not folder.is_dir():
    raise UserError(f'{folder} is not a folder: give the one that holds the files *{ending}.')
  paths = [path for path in image_files(folder).found if path.name.endswith(ending)]
  if not paths:
    raise UserError(f'{folder} holds no file *{ending}: check the folder.')
  found: dict[str, Path] = {}
  for path in paths:
    image = benchmark.image(path)
    if image is None:
      raise UserError(
        f'{path} is not named after an image of {benchmark.title} ({benchmark.image_name}): rename '
        'or remove it.'
      )
    if image in found:
      raise UserError(
        f'{found[image]} and {path} belong to one image: give a folder with one file an image.'
      )
    found[image] = path
  return found


def _instances(label: Path) -> Path | None:
  ending = '_labelIds.png'
  if not label.name.endswith(ending):
    return None
  return label.with_name(label.name.removesuffix(ending) + '_instanceIds.png')


def _check_size(path: Path, ids: np.ndarray, label_path: Path, label: np.ndarray) -> None:
  if ids.shape != label.shape:
    sizes = [f'{shape[1]}x{shape[0]}' for shape in (ids.shape, label.shape)]
    raise UserError(
      f'{path} is {sizes[0]} but {label_path} is {sizes[1]} (width x height): scale logits, not '
      'labels, to the size of the image.'
    )


def _check_ids(
  path: Path, ids: np.ndarray, num_ids: int, further: tuple[int, ...], remedy: str
) -> None:
  if ids.min() >= 0 and ids.max() < num_ids:
    return
  strange = ids[(ids < 0) | (ids >= num_ids)]
  strange = strange[~np.isin(strange, further)]
  if strange.size:
    legal = ' and '.join([f'0-{num_ids - 1}', *map(str, further)])
    raise UserError(f'{path} holds the id {strange.min()}, and legal are {legal}: {remedy}.')


def _first(items: Sequence[object]) -> str:
  more = len(items) - 1
  return f'{items[0]} (and {more} more)' if more else str(items[0])
