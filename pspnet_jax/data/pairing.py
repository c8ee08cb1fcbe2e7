"""Finds the label of each image: by their names in two folders, or by a list file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pspnet_jax.data.image_files import image_files
from pspnet_jax.errors import UserError

LAYOUT = 'expected images/<split>/NAME.jpg with labels/<split>/NAME.png in the data folder'


class Unpaired(NamedTuple):
  """A file that takes no part in any pair."""

  kind: str  # such as 'image without label'
  path: Path
  message: str  # one sentence that begins with the path


Pairing = tuple[list[tuple[Path, Path]], list[Unpaired]]  # sorted pairs; what has no partner


def pairs_of_split(root: str, split: str) -> Pairing:
  """Pairs images/<split> with labels/<split> by the path below them, without extension.

  Raises:
    UserError: if one of the two folders does not exist or there is no image.
  """
  folders = Path(root, 'images', split), Path(root, 'labels', split)
  for folder in folders:
    if not folder.is_dir():
      parent = folder.parent if split else Path(root)
      there = sorted(p.name for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []
      raise UserError(
        f'{folder} does not exist (in {parent}: {", ".join(there) or "no folder"}): {LAYOUT}.'
      )
  unpaired: list[Unpaired] = []
  images, labels = (_by_stem(folder, unpaired) for folder in folders)
  if not images:
    raise UserError(f'{folders[0]} holds no image: {LAYOUT}.')
  for stem in sorted(set(images) - set(labels)):
    remedy = f'has no label: add {folders[1] / stem}.png or remove the image.'
    unpaired.append(Unpaired('image without label', images[stem], f'{images[stem]} {remedy}'))
  for stem in sorted(set(labels) - set(images)):
    remedy = f'has no image: add {folders[0] / stem}.jpg or remove the label.'
    unpaired.append(Unpaired('label without image', labels[stem], f'{labels[stem]} {remedy}'))
  return [(images[stem], labels[stem]) for stem in sorted(set(images) & set(labels))], unpaired


def pairs_of_list(root: str, list_file: str) -> Pairing:
  """Pairs as the lines `IMAGE LABEL` of a file say.

  Raises:
    UserError: if it cannot be read or is empty, or, naming the line, if one cannot be understood.
  """
  path = Path(root, list_file)
  try:
    lines = path.read_text(encoding='utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'list file {path} cannot be read: check the path ({error}).') from error
  listed = []
  for number, line in enumerate(lines, 1):
    fields = line.split('\t') if '\t' in line else line.split()
    if len(fields) == 1 and fields[0].strip():
      raise UserError(
        f'{path}:{number} has an image and no label: training and evaluation need both, prediction '
        'takes the images themselves.'
      )
    if len(fields) > 2:
      raise UserError(
        f'{path}:{number} has {len(fields)} fields where an image and a label are expected: put a '
        'tab between them if the names hold spaces.'
      )
    if len(fields) == 2:
      listed.append((number, Path(root, fields[0].strip()), Path(root, fields[1].strip())))
  if not listed:
    raise UserError(f'list file {path} is empty: expected lines of an image and a label.')
  pairs, unpaired = [], []
  for number, image, label in listed:
    missing = [file for file in (image, label) if not file.is_file()]
    for file in missing:
      message = f'{file}, line {number} of {path}, does not exist: check the data folder.'
      unpaired.append(Unpaired('missing file', file, message))
    if not missing:
      pairs.append((image, label))
  return pairs, unpaired


def refuse(unpaired: Sequence[Unpaired]) -> None:
  """Raises UserError about the first, saying how many more there are of its kind."""
  if not unpaired:
    return
  kind, path, message = unpaired[0]
  more = sum(other.kind == kind for other in unpaired) - 1
  if more and kind.endswith(('label', 'image')):
    message = f'{path} (and {more} more){message.removeprefix(str(path))}'
  raise UserError(message)


def _by_stem(folder: Path, unpaired: list[Unpaired]) -> dict[str, Path]:
  """Files of a folder by their path below it, without extension."""
  found: dict[str, Path] = {}
  for path in image_files(folder).found:
    stem = path.relative_to(folder).with_suffix('').as_posix()
    if stem in found:
      message = f'{found[stem]} and {path} differ only in extension: remove one of the two.'
      unpaired.append(Unpaired('two files of one name', path, message))
    else:
      found[stem] = path
  return found
