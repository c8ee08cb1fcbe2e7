"""The folder that predictions go to: what is written of an image, and what an earlier run left."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.pictures import labels, png_files
from pspnet_jax.prediction import video_files
from pspnet_jax.prediction.asking import Answer
from pspnet_jax.runtime.files import whole_file

KINDS = ('labels', 'overlays', 'confidence', 'probabilities', 'side_by_side')  # folders
_SUFFIXES = {'probabilities': '.npz'}


class Results:
  """Files of several kinds, one of each for an image: DIR/KIND/NAME.

  Each file keeps a mark that tells what it was made from. So a later run knows what it need not
  make again, whatever happened in between, and what is not ours is never replaced.

  Args:
    output: the folder.
    kinds: which of KINDS.
  """

  def __init__(self, output: Path, kinds: Sequence[str]):
    self._output, self.kinds = output, tuple(kinds)

  def path(self, kind: str, target: Path) -> Path:
    """The file of a kind, for an image whose picture is called `target`."""
    return self._output / kind / target.with_suffix(_SUFFIXES.get(kind, target.suffix))

  def check(self, images: Sequence[Path], targets: Sequence[Path]) -> None:
    """Refuses to replace what no earlier run has written: an image, labels drawn by hand.

    Raises:
      UserError: for the first such file.
    """
    paths = [self.path(kind, target) for kind in self.kinds for target in targets]
    there = [(path, status) for path in paths if (status := _status(path))]
    inputs = {(s.st_dev, s.st_ino) for image in images if there and (s := _status(image))}
    for path, status in there:
      if (status.st_dev, status.st_ino) in inputs or mark_of(path) is None:
        raise UserError(
          f'{path} is there and was not written by predict: give another --output, or move it.'
        )

  def has(self, target: Path, mark: str) -> bool:
    """Whether the files of all kinds are there and were made from the same."""
    return all(mark_of(self.path(kind, target)) == mark for kind in self.kinds)

  def write(
    self, target: Path, mark: str, spec: DatasetSpec, image: np.ndarray, answer: Answer
  ) -> None:
    """Writes the files of an image, uint8 [H, W, 3], each whole; UserError if one cannot be.

    Args:
      target: the name of its pictures.
      mark: what they are made from.
      spec: names and colours of the classes.
      image: the image.
      answer: the label and what else was asked for.
    """
    for kind in self.kinds:
      path = self.path(kind, target)
      if kind == 'labels':
        png_files.write_label(path, answer.label, spec, mark)
      elif kind == 'overlays':
        png_files.write_image(path, labels.overlay(image, answer.label, spec), mark)
      elif kind == 'side_by_side':
        title = 'together' if answer.members else 'prediction'
        maps = {**dict(answer.members), title: answer.label}
        png_files.write_image(path, labels.side_by_side(image, maps, spec), mark)
      elif kind == 'confidence' and answer.confidence is not None:
        grey = labels.confidence_map(answer.confidence)[..., 0]
        png_files.write_image(path, grey, mark)
      elif kind == 'probabilities' and answer.probabilities is not None:
        with whole_file(path) as file:
          np.savez_compressed(
            file,
            probabilities=answer.probabilities.astype(np.float16),
            class_names=np.array(spec.class_names),
            made_from=np.array(mark),
          )


def mark_of(path: Path) -> str | None:
  """Returns the mark of a file that was written here; None if it was not."""
  if path.suffix == '.mp4':
    return video_files.mark_of(path)
  if path.suffix != '.npz':
    return png_files.mark_of(path)
  try:
    with np.load(path, allow_pickle=False) as arrays:
      return str(arrays['made_from'])
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def set_apart(paths: Sequence[Path], images: Path, output: Path) -> tuple[list[Path], list[Path]]:
  """Sets apart files of the folder `images` that are results in `output`, by any name or link."""
  folders = (output / kind for kind in KINDS)
  own = {(status.st_dev, status.st_ino) for folder in folders if (status := _status(folder))}
  if images.is_file() or not own:
    return list(paths), []
  is_own: dict[Path, bool] = {}
  for folder in {path.parent for path in paths}:
    real = Path(os.path.realpath(folder))
    around = (_status(parent) for parent in (real, *real.parents))
    is_own[folder] = any(status and (status.st_dev, status.st_ino) in own for status in around)
  return (
    [path for path in paths if not is_own[path.parent]],
    [path for path in paths if is_own[path.parent]],
  )


def _status(path: Path) -> os.stat_result | None:
  try:
    return path.stat()
  except OSError:
    return None
