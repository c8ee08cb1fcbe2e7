"""Finds the images in a folder, the same ones for training, prediction and submission."""

from __future__ import annotations

import collections
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import features

from pspnet_jax.errors import UserError

IMAGE_SUFFIXES = (
  *('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif'),
  # What a build of Pillow may lack.
  *(('.jp2',) if features.check('jpg_2000') else ()),
  *(('.avif',) if 'avif' in features.modules and features.check('avif') else ()),
)
# What systems and unpackers leave in folders, beside everything hidden.
_OF_MACHINES = ('__MACOSX', '@eaDir', '$RECYCLE.BIN', 'Thumbs.db', 'desktop.ini')


class FoundFiles(NamedTuple):
  """The files of a folder."""

  found: list[Path]  # images, sorted
  left_aside: dict[Path, str]  # everything else, with what it is: '.heic', 'pipe or device', ...


def image_files(folder: Path) -> FoundFiles:
  """Lists the images in a folder and all folders below it, by their extensions.

  Hidden files and folders are passed over, and so are those that systems make for themselves. Links
  are followed, which data sets are often put together with; a folder that can be reached in several
  ways is visited once, under its own name if that lies in `folder`, so that no link goes in circles
  and no file is found twice. A link to nothing is listed, for whoever reads it to refuse.

  Raises:
    UserError: if a folder cannot be listed.
  """
  found: list[Path] = []
  left_aside: dict[Path, str] = {}
  seen: set[tuple[int, int]] = set()
  folders, links = [folder], collections.deque[Path]()
  while folders or links:
    here = folders.pop() if folders else links.popleft()
    try:
      status = here.stat()
      if (status.st_dev, status.st_ino) in seen:
        left_aside[here] = 'link to a folder of these'
        continue
      seen.add((status.st_dev, status.st_ino))
      with os.scandir(here) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
          if entry.name.startswith('.') or entry.name in _OF_MACHINES:
            continue
          path = here / entry.name
          linked = entry.is_symlink()
          if path.is_dir() if linked else entry.is_dir():
            (links if linked else folders).append(path)
          elif kind := _no_image(entry, path):
            left_aside[path] = kind
          else:
            found.append(path)
    except OSError as error:
      raise UserError(
        f'{here} cannot be listed ({error.strerror}): check its permissions.'
      ) from error
  return FoundFiles(sorted(found), left_aside)


def list_images(path: str | Path) -> FoundFiles:
  """The images to predict: a file, or those in a folder and all folders below it.

  Raises:
    UserError: if the path does not exist or the folder holds no image.
  """
  path = Path(path)
  if path.is_file():
    return FoundFiles([path], {})
  if not path.is_dir():
    fault = 'is neither a file nor a folder' if path.exists() else 'does not exist'
    raise UserError(f'{path} {fault}: give an image or a folder of images.')
  files = image_files(path)
  if not files.found:
    others = f' but {counted(files.left_aside)}' if files.left_aside else ''
    raise UserError(f'{path} holds no image{others}: supported are {", ".join(IMAGE_SUFFIXES)}.')
  return files


def counted(left_aside: Mapping[Path, str]) -> str:
  """Says how many there are of each kind, the most frequent first: '12 .heic, 1 .pdf'."""
  kinds = collections.Counter(left_aside.values())
  return ', '.join(f'{count:,} {kind}' for kind, count in kinds.most_common())


def _no_image(entry: os.DirEntry[str], path: Path) -> str | None:
  """What a file is, unless it is an image; None for an image."""
  if not (entry.is_file(follow_symlinks=False) or path.is_file() or not path.exists()):
    return 'pipe or device'
  suffix = os.path.splitext(entry.name)[1].lower()
  return None if suffix in IMAGE_SUFFIXES else suffix or 'without extension'
