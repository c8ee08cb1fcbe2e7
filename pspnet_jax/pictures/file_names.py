"""Names of the pictures that are made of images: all different, whatever the file system."""

from __future__ import annotations

import collections
import unicodedata
from collections.abc import Sequence
from pathlib import Path


def png_names(names: Sequence[Path]) -> list[Path]:
  """The name of the PNG file made of each image.

  street.jpg becomes street.png. Where several would become one, as street.jpg and street.png or, on
  a file system that ignores case, A.jpg and a.jpg, they keep their suffixes (street.jpg.png), and
  are numbered if that does not tell them apart.

  Args:
    names: paths of the images below their folder, all different.
  """
  plain = [name.with_suffix('.png') for name in names]
  count = collections.Counter(map(_key, plain))
  taken = {_key(folder) for name in names for folder in name.parents}
  result = []
  for name, short in zip(names, plain, strict=True):
    long = name.with_name(f'{name.name}.png')
    target = short if count[_key(short)] == 1 and _key(short) not in taken else long
    number = 1
    while _key(target) in taken:
      number += 1
      target = name.with_name(f'{name.name}-{number}.png')
    taken.add(_key(target))
    result.append(target)
  return result


def _key(path: Path) -> str:
  """Equal for names that some file system takes for one."""
  return unicodedata.normalize('NFC', path.as_posix()).casefold()
