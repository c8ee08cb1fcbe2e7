"""Packs predictions into archives as the benchmarks' servers take them."""

from __future__ import annotations

import contextlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from pspnet_jax.data import pillow
from pspnet_jax.data.image_files import list_images
from pspnet_jax.data.palettes import voc_palette
from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.evaluation.official.benchmarks import Benchmark
from pspnet_jax.runtime.files import whole_file

ENDINGS = ('.zip', '.tar.gz', '.tgz')


def select(
  benchmark: Benchmark,
  images: Path,
  names: Sequence[str] | None = None,
  *,
  allow_partial: bool = False,
) -> list[Path]:
  """Lists the images of a submission, once it is certain that all are there and can be opened.

  Args:
    benchmark: says how images are named, how many there are and of what size.
    images: a folder of images; those below it count too.
    names: the images to submit, others are not looked at; None: all, as many as a split has.
    allow_partial: submit what there is.

  Raises:
    UserError: for a missing image, a wrong number of them, two of one name, or one that is named or
      sized unlike the benchmark's.
  """
  wanted = None if names is None else set(names)
  found: dict[str, Path] = {}
  for path in list_images(images).found:
    name = benchmark.image(path)
    if wanted is not None and name not in wanted:
      continue
    if name is None:
      raise UserError(
        f'{path} is not named after an image of {benchmark.title} ({benchmark.image_name}): rename '
        'or remove it.'
      )
    if name in found:
      raise UserError(f'{found[name]} and {path} are one image to the server: remove one.')
    found[name] = path
  if not found or not (allow_partial or is_whole(benchmark, len(found), names)):
    raise UserError(_incomplete(benchmark, images, found, names))
  for path in found.values():
    _check_image(path, benchmark)
  return [found[name] for name in names or found if name in found]


def is_whole(benchmark: Benchmark, count: int, names: Sequence[str] | None) -> bool:
  """Whether `count` images are all: those of the list, or of a split."""
  return count == len(names) if names is not None else count in benchmark.splits.values()


def folder(benchmark: Benchmark, count: int, competition: str) -> str:
  """The folder in the archive for a split of `count` images, with a slash at the end."""
  of_count = {number: split for split, number in benchmark.splits.items()}
  return benchmark.folder.format(competition=competition, split=of_count.get(count, 'test'))


def encode(label: np.ndarray, benchmark: Benchmark) -> bytes:
  """Encodes class ids uint8 [H, W] as a PNG file in the benchmark's ids."""
  picture = Image.fromarray(np.array(benchmark.class_ids, np.uint8)[label])
  if benchmark.palette:
    picture.putpalette(np.array(voc_palette(256), np.uint8).tobytes())
  data = io.BytesIO()
  picture.save(data, 'PNG')
  return data.getvalue()


class Submission:
  """A .zip, .tar.gz or .tgz that appears under its name when it is complete, or not at all.

  Use it as a context manager.

  Raises:
    UserError: for another ending, or if the file cannot be written.
  """

  def __init__(self, path: Path):
    if not path.name.endswith(ENDINGS):
      raise UserError(f'{path} must end in {" or ".join(ENDINGS)}: rename the archive.')
    if path.is_dir():
      raise UserError(f'{path} is a folder: give the name of a file.')
    self.path = path
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> Submission:
    self._archive: zipfile.ZipFile | tarfile.TarFile
    file = self._stack.enter_context(whole_file(self.path))
    if self.path.name.endswith('.zip'):
      self._archive = zipfile.ZipFile(file, 'w')  # PNG is compressed already
    else:
      self._archive = tarfile.open(self.path.name, 'w:gz', file, compresslevel=1)
    self._stack.push(contextlib.closing(self._archive))
    return self

  def add(self, name: str, data: bytes) -> None:
    """Adds a file."""
    try:
      if isinstance(self._archive, zipfile.ZipFile):
        file = zipfile.ZipInfo(name)  # dated 1980, so that equal predictions make equal archives
        file.external_attr = 0o644 << 16
        self._archive.writestr(file, data)
      else:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        self._archive.addfile(entry, io.BytesIO(data))
    except OSError as e:
      raise cannot_write(self.path, e) from e

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    self._stack.__exit__(kind, error, traceback)


def _check_image(path: Path, benchmark: Benchmark) -> None:
  with pillow.open_image(path) as image:
    width, height = image.size
  if benchmark.image_size is not None and benchmark.image_size != (height, width):
    h, w = benchmark.image_size
    raise UserError(
      f'{path} is {width}x{height}, and images of {benchmark.title} are {w}x{h} (width x height): '
      'give the original images.'
    )


def _incomplete(
  benchmark: Benchmark, images: Path, found: Mapping[str, Path], names: Sequence[str] | None
) -> str:
  if names is not None:
    missing = [name for name in names if name not in found]
    fault = (
      f'{len(missing):,} of the {len(names):,} images of the list, {missing[0]} to begin with, are '
      f'not in {images}: complete the folder'
    )
  else:
    sizes = ' or '.join(f'{count:,} ({split})' for split, count in benchmark.splits.items())
    fault = (
      f'{images} holds {len(found):,} images, and {benchmark.title} has {sizes}: give the folder '
      'of one split, or name its images with --list=FILE'
    )
  return f'{fault}; --allow_partial submits what is there.' if found else f'{fault}.'
