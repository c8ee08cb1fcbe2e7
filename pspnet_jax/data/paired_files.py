"""Image files and label files in pairs: what `Folder` reads, and a base for one's own layouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pspnet_jax.data.decode import exif_orientation, read_ids
from pspnet_jax.data.illegal_ids import holds_colours
from pspnet_jax.data.image_reader import ImageReader
from pspnet_jax.data.label_ids import colour_label, map_ids
from pspnet_jax.data.orientation import OTHER_FRAME
from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec, Example, Exif
from pspnet_jax.errors import BadData, UserError


class PairedFiles:
  """A source of pairs of files; indexing decodes them strictly. It is a `StoredLabels`.

  Args:
    spec: names and colours of the classes.
    table: from ids in the label files to class ids, or from their colours; see `label_ids`.
    pairs: paths of image and label.
    names: of the examples; None: the images' names without extension.
    exif: whether images are turned as their EXIF data say; see `decode.read_image`.

  Raises:
    UserError: for another `exif`, or a table of other classes than the spec's; on indexing, for
      files that cannot be decoded, ids or colours that are neither classes nor ignored, and sizes
      that differ.
  """

  def __init__(
    self,
    spec: DatasetSpec,
    table: np.ndarray,
    pairs: Iterable[tuple[Path, Path]],
    names: Sequence[str] | None = None,
    *,
    exif: Exif = 'upright',
  ):
    self.spec, self.table, self.pairs, self.exif = spec, table, list(pairs), exif
    self._read_image = ImageReader(exif)
    self.names = [image.stem for image, _ in self.pairs] if names is None else list(names)
    if len(self.names) != len(self.pairs):
      raise UserError(f'{len(self.names)} names for {len(self.pairs)} pairs: give one each.')
    highest = int(table.max(where=table != IGNORE_LABEL, initial=-1))
    if highest >= spec.num_classes:
      raise UserError(
        f'the table makes class {highest} of an id, and there are {spec.num_classes} classes: '
        'give the spec and the table the same classes.'
      )

  def __len__(self) -> int:
    return len(self.pairs)

  def __getitem__(self, index: int) -> Example:
    image, label = self.image(index), self.label(index)
    if image.shape[:2] != label.shape:
      image_path, label_path = self.pairs[index]
      raise sizes_differ(image_path, image.shape, label_path, label.shape)
    return {'image': image, 'label': label, 'name': self.names[index]}

  def name(self, index: int) -> str:
    """The name of an example."""
    return self.names[index]

  def files(self, index: int) -> tuple[Path, Path]:
    """The image's and the label's file."""
    return self.pairs[index]

  def image(self, index: int) -> np.ndarray:
    """The image alone: uint8 [H, W, 3]."""
    return self._read_image(self.pairs[index][0])

  def stored_label(self, index: int) -> np.ndarray:
    """The ids in the label file, or its colours packed, as they are: integers [H, W]."""
    path, colours = self.pairs[index][1], holds_colours(self.table)
    try:
      return read_ids(path, colours=colours)
    except BadData as error:
      raise error if colours else colour_label(path, error, self.spec.palette) from error

  def label(self, index: int) -> np.ndarray:
    """The label alone: uint8 [H, W]."""
    return map_ids(self.pairs[index][1], self.stored_label(index), self.table)


def sizes_differ(
  image_path: Path,
  image: tuple[int, ...],
  label_path: Path,
  label: tuple[int, ...],
  turned: int | None = None,
) -> BadData:
  """The error for an image and a label of these shapes; `turned` is the EXIF orientation."""
  sizes = f'{image[1]}x{image[0]}', f'{label[1]}x{label[0]}'
  message = f'{image_path} is {sizes[0]} but {label_path} is {sizes[1]} (width x height)'
  turned = exif_orientation(image_path) if turned is None else turned
  if turned >= 5 and tuple(image[:2]) == tuple(label[::-1]):
    remedy = (
      f'the image is turned by its EXIF orientation ({turned}), and the label was drawn on the '
      f'other frame, so {OTHER_FRAME}'
    )
  else:
    remedy = 'make their sizes equal, scaling labels with nearest neighbour only'
  return BadData('sizes differ', f'{message}: {remedy}.')
