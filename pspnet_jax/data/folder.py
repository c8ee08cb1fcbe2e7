"""A data set in a folder of one's own: images, labels of the same names, and a list of classes.

root/
  images/train/a.jpg   images/val/b.jpg    any folders below the split
  labels/train/a.png   labels/val/b.png    one id a pixel, 255 = ignored
  classes.txt                              see `pspnet_jax.data.classes`
"""

from __future__ import annotations

import collections
import os
from collections.abc import Sequence
from pathlib import Path

from pspnet_jax.data.classes import Classes, read_classes
from pspnet_jax.data.decode import exif_orientation, label_table, read_image, read_label
from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec, Example, default_palette
from pspnet_jax.errors import UserError

_IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_LAYOUT = 'expected images/<split>/NAME.jpg with labels/<split>/NAME.png in the data folder'


class Folder:
  """Images and labels from a folder, paired by their path without extension, sorted by it.

  Args:
    root: the data folder.
    split: the folder below `images` and `labels`; '' when there is none.
    classes: the class file, relative to `root`; not read when `class_names` are given.
    class_names: the classes in the order of their ids, instead of a class file.
    palette: an RGB colour for each class; the PASCAL VOC colours when left out.
    ignore_ids: ids in the label files that stand for no class; 255 always does.
    label_offset: the id that the files give to the first class.
    label_ids: the id that the files give to each class, when they do not simply count up.
    list_file: instead of a split, a file of lines `IMAGE LABEL` (relative to `root`, like the file
      itself; a tab between them if the names hold spaces), as hszhao/semseg has them.

  Raises:
    UserError: for a missing or empty folder, an image without its label or the reverse, two images
      of one name, or a bad class or list file; on indexing, for files that cannot be decoded, ids
      that are neither classes nor ignored, and sizes that differ.
  """

  def __init__(
    self,
    root: str,
    split: str = 'train',
    *,
    classes: str = 'classes.txt',
    class_names: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    ignore_ids: Sequence[int] = (),
    label_offset: int = 0,
    label_ids: Sequence[int] | None = None,
    list_file: str | None = None,
  ):
    if not Path(root).is_dir():
      raise UserError(f'data folder {root} does not exist: {_LAYOUT}.')
    if class_names is None:
      found = read_classes(Path(root) / classes)
    else:
      found = Classes(tuple(class_names))
    ids = label_ids or found.label_ids
    if ids is None:
      first = label_offset or found.label_offset
      ids = range(first, first + len(found.names))
    if len(ids) != len(found.names):
      raise UserError(f'{len(ids)} label_ids for {len(found.names)} classes: give one each.')
    colours = palette or found.palette or default_palette(len(found.names))
    if any(len(colour) != 3 for colour in colours):
      raise UserError(f'palette={palette} must have three numbers, RGB in 0-255, for each class.')
    self.spec = DatasetSpec(found.names, tuple((r, g, b) for r, g, b in colours))
    self._table = label_table(ids, (*found.ignore_ids, *ignore_ids))
    self._pairs = _pairs_of_list(root, list_file) if list_file else _pairs_of_split(root, split)
    self._names = _names([image for image, _ in self._pairs], root)
    self._refuse_binary_masks()

  def __len__(self) -> int:
    return len(self._pairs)

  def __getitem__(self, index: int) -> Example:
    image_path, label_path = self._pairs[index]
    image, label = read_image(image_path), read_label(label_path, self._table)
    if image.shape[:2] != label.shape:
      raise UserError(_sizes_differ(image_path, image.shape, label_path, label.shape))
    return {'image': image, 'label': label, 'name': self._names[index]}

  def _refuse_binary_masks(self) -> None:
    # A 0/255 mask of two classes decodes without an error, as one class and pixels left out, and
    # the network would learn to answer 0 everywhere. Good labels end this at the first file or so.
    if self.spec.num_classes != 2 or self._table[IGNORE_LABEL] != IGNORE_LABEL:
      return
    any_ignored = False
    for _, path in self._pairs:
      label = read_label(path, self._table)
      if (label == 1).any():
        return
      any_ignored |= bool((label == IGNORE_LABEL).any())
    if any_ignored:
      raise UserError(
        f'no label, {self._pairs[0][1]} to begin with, has a pixel of class 1, only class 0 and '
        'ignored pixels: if 255 is the second class in these files, give label_ids=(0, 255).'
      )


def list_images(path: str | Path) -> list[Path]:
  """The images to predict: a file, or a folder and all folders below it, sorted.

  Raises:
    UserError: if the path does not exist or the folder holds no image.
  """
  path = Path(path)
  if path.is_file():
    return [path]
  if not path.is_dir():
    raise UserError(f'{path} does not exist: give an image or a folder of images.')
  images = sorted(_files(path))
  if not images:
    raise UserError(f'{path} holds no image: supported are {", ".join(_IMAGE_SUFFIXES)}.')
  return images


def _files(folder: Path) -> list[Path]:
  # os.walk follows the symbolic links that data sets are often put together with.
  return [
    Path(where, name)
    for where, _, names in os.walk(folder, followlinks=True)
    for name in names
    if name.lower().endswith(_IMAGE_SUFFIXES) and not name.startswith('.')
  ]


def _by_stem(folder: Path) -> dict[str, Path]:
  """Files of a folder by their path below it, without extension."""
  found: dict[str, Path] = {}
  for path in sorted(_files(folder)):
    stem = path.relative_to(folder).with_suffix('').as_posix()
    if stem in found:
      raise UserError(f'{found[stem]} and {path} differ only in extension: remove one of the two.')
    found[stem] = path
  return found


def _pairs_of_split(root: str, split: str) -> list[tuple[Path, Path]]:
  folders = Path(root, 'images', split), Path(root, 'labels', split)
  for folder in folders:
    if not folder.is_dir():
      parent = folder.parent if split else Path(root)
      there = sorted(p.name for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []
      raise UserError(
        f'{folder} does not exist (in {parent}: {", ".join(there) or "no folder"}): {_LAYOUT}.'
      )
  images, labels = (_by_stem(folder) for folder in folders)
  if not images:
    raise UserError(f'{folders[0]} holds no image: {_LAYOUT}.')
  if lacking := sorted(set(images) - set(labels)):
    wanted = folders[1] / f'{lacking[0]}.png'
    raise UserError(
      f'{images[lacking[0]]}{_more(lacking)} has no label: add {wanted} or remove the image.'
    )
  if lacking := sorted(set(labels) - set(images)):
    raise UserError(
      f'{labels[lacking[0]]}{_more(lacking)} has no image: add {folders[0] / lacking[0]}.jpg or '
      'remove the label.'
    )
  return [(images[stem], labels[stem]) for stem in sorted(images)]


def _more(names: Sequence[str]) -> str:
  return f' (and {len(names) - 1} more)' if len(names) > 1 else ''


def _pairs_of_list(root: str, list_file: str) -> list[tuple[Path, Path]]:
  path = Path(root, list_file)
  try:
    lines = path.read_text(encoding='utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'list file {path} cannot be read: check the path ({error}).') from error
  pairs = []
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
      pairs.append((Path(root, fields[0].strip()), Path(root, fields[1].strip())))
  for number, (image, label) in enumerate(pairs, 1):
    for file in (image, label):
      if not file.is_file():
        raise UserError(f'{file}, line {number} of {path}, does not exist: check the data folder.')
  if not pairs:
    raise UserError(f'list file {path} is empty: expected lines of an image and a label.')
  return pairs


def _names(paths: Sequence[Path], root: str) -> list[str]:
  """A name for each image that can be a file name: its own if no other has it, else its path."""
  names = [path.stem for path in paths]
  if len(set(names)) < len(names):
    below = [Path(os.path.relpath(path, root)).with_suffix('') for path in paths]
    names = ['__'.join(part for part in path.parts if part != '..') for path in below]
  repeated = [name for name, count in collections.Counter(names).items() if count > 1]
  if repeated:
    raise UserError(f'two images are called {repeated[0]}: make the names unique.')
  return names


def _sizes_differ(
  image_path: Path, image: tuple[int, ...], label_path: Path, label: tuple[int, ...]
) -> str:
  sizes = f'{image[1]}x{image[0]}', f'{label[1]}x{label[0]}'
  message = f'{image_path} is {sizes[0]} but {label_path} is {sizes[1]} (width x height)'
  turned = exif_orientation(image_path)
  if turned >= 5 and tuple(image[:2]) == tuple(label[::-1]):
    return (
      f'{message}: the label was drawn on the image as turned by its EXIF orientation ({turned}), '
      'so turn the stored pixels (mogrify -auto-orient) or the label.'
    )
  return f'{message}: make their sizes equal, scaling labels with nearest neighbour only.'
