"""A data set in a folder of one's own: images, labels of the same names, and a list of classes.

root/
  images/train/a.jpg   images/val/b.jpg    any folders below the split; see `layout` for other names
  labels/train/a.png   labels/val/b.png    one id a pixel, 255 = ignored
  classes.txt                              see `pspnet_jax.data.classes`
"""

from __future__ import annotations

import collections
import os
from collections.abc import Sequence
from pathlib import Path

from pspnet_jax.data.classes import Classes, Labels, read_classes, spec_and_table
from pspnet_jax.data.layout import Layout
from pspnet_jax.data.list_files import pairs_of_list
from pspnet_jax.data.paired_files import PairedFiles
from pspnet_jax.data.pairing import pairs_of_split, refuse
from pspnet_jax.data.spec import Exif, PathText
from pspnet_jax.errors import UserError


class Folder(PairedFiles):
  """Images and labels from a folder, paired by their path without extension, sorted by it.

  Args:
    root: the data folder.
    split: what stands for `{split}` below; '' when there is none.
    image_folder, label_folder, image_suffix, label_suffix, val_share: where images and labels lie,
      what they are called, and which share of them is the split 'val'; see `layout.Layout`.
    classes: the class file, relative to `root`; not read when `class_names` are given.
    class_names: the classes in the order of their ids, instead of a class file.
    palette: an RGB colour for each class, or several of which the first shows it; the PASCAL VOC
      colours when left out.
    ignore_ids: ids in the label files that stand for no class; 255 always does. Or colours.
    label_offset: the id that the files give to the first class.
    label_ids: the id that the files give to each class, or several, when they do not simply count
      up.
    labels: 'ids', or 'colours' if label files are pictures in the colours of the classes; None:
      what the class file says, else 'ids'.
    list_file: a file of lines `IMAGE LABEL` (relative to `root`, like the file itself), as
      hszhao/semseg has them, or of names, as PASCAL VOC has; see `list_files`. It may contain
      `{split}`.
    exif: whether images are turned as their EXIF data say; see `decode.read_image`.

  Attributes:
    pairs: paths of image and label.
    names: of the examples.
    table: from ids or colours in the label files to class ids; see `label_ids`.
    unpaired: files without a partner, which are refused.
    notes: what lies there and was left out on purpose, a sentence each.

  Raises:
    UserError: for a missing or empty folder, an image without its label or the reverse, two images
      of one name, or a bad class or list file; on indexing, for files that cannot be decoded, ids
      that are neither classes nor ignored, and sizes that differ.
  """

  def __init__(
    self,
    root: PathText,
    split: str = 'train',
    *,
    classes: str = 'classes.txt',
    class_names: Sequence[str] | None = None,
    palette: Sequence[Sequence[int] | Sequence[Sequence[int]]] | None = None,
    ignore_ids: Sequence[int | Sequence[int]] = (),
    label_offset: int = 0,
    label_ids: Sequence[int | Sequence[int]] | None = None,
    labels: Labels | None = None,
    list_file: str | None = None,
    image_folder: str = Layout.image_folder,
    label_folder: str = Layout.label_folder,
    image_suffix: str = '',
    label_suffix: str = '',
    val_share: float = 0.0,
    exif: Exif = 'upright',
  ):
    layout = Layout(image_folder, label_folder, image_suffix, label_suffix, val_share)
    if not Path(root).is_dir():
      raise UserError(f'data folder {root} does not exist: {layout.expected}.')
    if class_names is None:
      found = read_classes(Path(root) / classes)
    else:
      found = Classes(tuple(class_names))
    spec, table = spec_and_table(
      found,
      palette=palette,
      ignore_ids=ignore_ids,
      label_offset=label_offset,
      label_ids=label_ids,
      labels=labels,
    )
    pairs, self.unpaired, self.notes = (
      pairs_of_list(root, list_file, split, layout)
      if list_file
      else pairs_of_split(root, split, layout)
    )
    super().__init__(spec, table, pairs, exif=exif)
    self.names = self._checked_names(root)

  def _checked_names(self, root: str) -> list[str]:
    """Refuses what is wrong with the folder as a whole; `LenientFolder` does not."""
    refuse(self.unpaired)
    names = _names([image for image, _ in self.pairs], root)
    return names


class LenientFolder(Folder):
  """A `Folder` that keeps what it would refuse in `unpaired`; takes the same arguments."""

  def _checked_names(self, root: str) -> list[str]:
    return [os.path.relpath(image, root) for image, _ in self.pairs]


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
