"""Pairs images and labels by their names, and says why a file has no partner."""

from __future__ import annotations

import bisect
import collections
import itertools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pspnet_jax.data.image_files import IMAGE_SUFFIXES, counted
from pspnet_jax.data.layout import BY_SPLIT, Layout, Side, sides_of_split
from pspnet_jax.errors import UserError


class Unpaired(NamedTuple):
  """A file that takes no part in any pair."""

  kind: str  # such as 'image without label'
  path: Path
  message: str  # one sentence that begins with the path


class Pairing(NamedTuple):
  """Which image belongs to which label."""

  pairs: list[tuple[Path, Path]]  # sorted, or as listed
  unpaired: list[Unpaired]  # what has no partner
  notes: list[str]  # what was left out on purpose, a sentence each


def pairs_of_split(root: str, split: str, layout: Layout = BY_SPLIT) -> Pairing:
  """Pairs the images and the labels of a split by the path below their folders, without extension.

  Raises:
    UserError: if one of the two folders does not exist, there is no image, or images cannot be told
      from labels.
  """
  images, labels = sides_of_split(Path(root), split, layout)
  if not images.files:
    besides = images.left_aside | dict.fromkeys(images.set_aside, 'of other names')
    there = f' but {counted(besides)}' if besides else ''
    raise UserError(f'{images.folder} holds no image{there}: {layout.expected}.')
  names = sorted(filter(layout.share(split), images.files.keys() | labels.files.keys()))
  if not names:
    raise UserError(
      f'val_share={layout.val_share} leaves none of {len(images.files)} examples to {split}: '
      'choose another share, or lay out the splits in folders.'
    )
  unpaired = [clash for side in (images, labels) for name in names for clash in clashes(side, name)]
  explained = _Explanation(images, labels)
  for name in names:
    if name not in labels.files:
      message = f'{images.files[name]} has no label{explained.no_label(name)}.'
      unpaired.append(Unpaired('image without label', images.files[name], message))
  for name in names:
    if name not in images.files:
      message = f'{labels.files[name]} has no image{explained.no_image(name)}.'
      unpaired.append(Unpaired('label without image', labels.files[name], message))
  both = images.files.keys() & labels.files.keys()
  pairs = [(images.files[name], labels.files[name]) for name in names if name in both]
  share = layout.share_said(split, len(pairs), images.folder)
  return Pairing(pairs, unpaired, [*dict.fromkeys([*images.notes(), *labels.notes(), *share])])


def clashes(side: Side, name: str) -> list[Unpaired]:
  """The files that have the name of another one."""
  found = []
  for path in side.clashes.get(name, ()):
    first = side.files[name]
    same = first.with_suffix('') == path.with_suffix('')
    differ = 'extension' if same else 'case, or in how accents are encoded (Unicode NFC and NFD)'
    message = f'{first} and {path} differ only in {differ}: remove one of the two.'
    found.append(Unpaired('two files of one name', path, message))
  return found


def refuse(unpaired: Sequence[Unpaired]) -> None:
  """Raises UserError about the first, saying how many more there are of its kind."""
  if not unpaired:
    return
  kind, path, message = unpaired[0]
  more = sum(other.kind == kind for other in unpaired) - 1
  if more and kind.endswith(('label', 'image')):
    message = f'{path} (and {more} more){message.removeprefix(str(path))}'
  raise UserError(message)


class _Explanation:
  """Says why a file has no partner, by what lies where the partner should."""

  def __init__(self, images: Side, labels: Side):
    self._images, self._labels = images, labels
    self._unreadable = {
      side.folder: {side.stem(path): path for path in side.left_aside if path.suffix}
      for side in (images, labels)
    }
    alone = [images.stem(path) for name, path in images.files.items() if name not in labels.files]
    there = {labels.stem(path): path.suffix for path in (*labels.files.values(), *labels.set_aside)}
    most = 2 * len(alone) > len(images.files)  # else the endings are right as they are
    self._endings = proposed_suffixes(alone, there) if most else None

  def no_label(self, name: str) -> str:
    return self._remedy(name, self._labels, '.png', 'image')

  def no_image(self, name: str) -> str:
    return self._remedy(name, self._images, '.jpg', 'label')

  def _remedy(self, name: str, side: Side, extension: str, alone: str) -> str:
    wanted = side.path_of(name, extension)
    if other := self._unreadable[side.folder].get(side.stem(wanted)):
      return f', for {other} is of no format that can be read: save it as {wanted.name}'
    if self._endings:
      return f' of its name, but with other endings there are pairs: give {self._endings}'
    return f': add {wanted} or remove the {alone}'


def proposed_suffixes(alone: Iterable[str], there: Mapping[str, str]) -> str | None:
  """The settings under which at least half of the images that have no label would have one.

  Args:
    alone: names of the images, without extension.
    there: the extension of each file among the labels, by its name without.

  Returns:
    such as '--config.data.label_suffix=_mask'; None if there are none.
  """
  names, others = sorted(alone), sorted(there)
  scores = collections.Counter[tuple[str, str]]()
  for name in names[:1]:
    at = bisect.bisect(others, name)
    for other in others[max(at - 4, 0) : at + 8]:
      common = _common_start(name, other)
      if common not in (name, other):  # cut between words, not within one
        common = common[: max(map(common.rfind, '_-. '))] if set(common) & set('_-. ') else ''
      image, label = name[len(common) :], other[len(common) :]
      if common and not common.endswith('/') and (image, label) not in scores:
        kept = (n[: len(n) - len(image)] for n in names if n.endswith(image))
        fitting = sum(kept_part + label in there for kept_part in kept)
        # The ids, where an image has several files, such as pictures of its label.
        likely = any(word in label.lower() for word in ('label', 'mask', 'seg'))
        scores[image, label] = 2 * fitting + likely if 2 * fitting >= len(names) else 0
  (image, label), score = (scores.most_common(1) or [(('', ''), 0)])[0]
  if not score:
    return None
  if label.lower().endswith(IMAGE_SUFFIXES):  # of NAME.jpg.png
    label += collections.Counter(there.values()).most_common(1)[0][0]
  settings = {'image_suffix': image, 'label_suffix': label}
  return ' '.join(
    f'--config.data.{key}={shlex.quote(value)}' for key, value in settings.items() if value
  )


def _common_start(one: str, other: str) -> str:
  pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
  return ''.join(letter for letter, _ in pairs)
