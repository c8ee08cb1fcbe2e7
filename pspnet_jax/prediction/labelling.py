"""Labels files and writes what is asked for: the same for a folder and for millions of paths."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pspnet_jax.data.decode import read_bytes, read_ids, read_image
from pspnet_jax.data.in_order import in_order
from pspnet_jax.errors import UserError
from pspnet_jax.prediction import areas
from pspnet_jax.prediction.asking import Asked, Model
from pspnet_jax.prediction.results import Results

_FORMAT = 1  # of what is written: raised where the same weights would give other files


class File(NamedTuple):
  """An image file, and what its results are called."""

  path: Path
  target: Path  # below the folder of each kind


class Outcome(NamedTuple):
  """What became of a file: areas, or an error."""

  number: int  # among the files
  mark: str = ''  # what the results were made from
  area: areas.Area | None = None  # of its label
  kept: bool = False  # whether the results are those of an earlier run
  error: UserError | None = None


class _Image(NamedTuple):
  number: int
  mark: str
  pixels: np.ndarray  # uint8 [H, W, 3]


def made_from(model: Model, asked: Asked, *, own: bool) -> str:
  """Says what results are made from, beside the image: weights, protocol and threshold.

  Args:
    model: labels the images.
    asked: what is written of them.
    own: whether the network is of the user's own, whose code is in no digest.
  """
  return f'{_FORMAT} {model.identity()} {asked.min_confidence}{" own" if own else ""}'


def label_files(
  model: Model,
  files: Sequence[File],
  results: Results,
  asked: Asked,
  *,
  made_from: str,
  keep: bool,
  tell: Callable[[Outcome], None],
  check: Callable[[], None] = lambda: None,
) -> None:
  """Labels files, each once; one that cannot be labelled does not keep the others from it.

  Files are read ahead, in several threads, while the device works.

  Args:
    model: labels the images.
    files: what to label.
    results: where it is written.
    asked: what is written.
    made_from: of the function of this name; a file's mark is a digest of it and of the image.
    keep: whether results with the same mark stay as they are.
    tell: is called with the outcome of each file, not always in their order.
    check: is called before and after each file, and may raise to end the work.
  """

  def attempt(number: int) -> _Image | Outcome:
    path, target = files[number]
    try:
      content = read_bytes(path)
      mark = hashlib.sha256(made_from.encode() + content).hexdigest()[:16]
      if keep and results.has(target, mark):
        with contextlib.suppress(UserError):  # a damaged label is no reason to end: it is made anew
          label = read_ids(results.path('labels', target))
          return Outcome(number, mark, areas.measure(label, model.spec), kept=True)
      return _Image(number, mark, read_image(path, exif=model.card.exif, data=content))
    except UserError as e:
      return Outcome(number, error=e)

  def read() -> Iterator[tuple[_Image, np.ndarray]]:
    for found in in_order(attempt, range(len(files))):
      check()  # as no answer may follow: all others may be kept, or damaged
      if isinstance(found, Outcome):
        tell(found)
      else:
        yield found, found.pixels

  for image, answer in asked.answers(model, read()):
    results.write(files[image.number].target, image.mark, model.spec, image.pixels, answer)
    tell(Outcome(image.number, image.mark, areas.measure(answer.label, model.spec)))
    check()
