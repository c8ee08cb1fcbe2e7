"""A data set of TensorFlow Datasets, by its name there, with the features that are image and label.

    c.data = {'name': 'tfds', 'dataset': 'oxford_iiit_pet', 'label': 'segmentation_mask',
              'class_names': ('pet', 'background', 'border'), 'label_offset': 1,
              'train': {'split': 'train'}, 'val': {'split': 'test'}}

It has to be prepared as ArrayRecord files by `tfds build NAME --file_format=array_record`, which
takes TensorFlow, as a rule; reading it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.data.classes import Classes, Labels, spec_and_table
from pspnet_jax.data.illegal_ids import holds_colours
from pspnet_jax.data.image_reader import ImageReader
from pspnet_jax.data.label_ids import map_ids, read_label
from pspnet_jax.data.paired_files import sizes_differ
from pspnet_jax.data.prepared import DATA_DIR
from pspnet_jax.data.spec import Example, Exif, PathText
from pspnet_jax.errors import UserError
from pspnet_jax.runtime import paths


class TfdsSource:
  """A split of a TFDS data set; indexing is safe from several threads and processes.

  Args:
    split: as TFDS writes it, such as 'train' or 'train[:90%]'.
    dataset: the data set, as TFDS writes it: NAME, NAME/CONFIG or NAME:VERSION.
    class_names: the classes in the order of their ids.
    image: the feature that holds the image.
    label: the feature that holds an id a pixel.
    key: the feature that holds the examples' names; None numbers them.
    palette: an RGB colour for each class, or several of which the first shows it; those of
      `palettes.default_palette` when left out.
    ignore_ids: ids that stand for no class; 255 always does. Or colours.
    label_offset: the id of the first class.
    label_ids: the id of each class, or several, when they do not simply count up.
    labels: 'ids', or 'colours' if labels are pictures in the colours of the classes.
    data_dir: where TFDS keeps its data sets.
    exif: whether images are turned as their EXIF data say; see `decode.read_image`.

  Attributes:
    made_from: files that change when the data are prepared anew.

  Raises:
    UserError: for a data set, split or feature that is not there, or without tensorflow-datasets;
      on indexing, if an example cannot be decoded or its ids are no classes.
  """

  def __init__(
    self,
    split: str,
    *,
    dataset: str,
    class_names: Sequence[str],
    image: str = 'image',
    label: str = 'label',
    key: str | None = None,
    palette: Sequence[Sequence[int] | Sequence[Sequence[int]]] | None = None,
    ignore_ids: Sequence[int | Sequence[int]] = (),
    label_offset: int = 0,
    label_ids: Sequence[int | Sequence[int]] | None = None,
    labels: Labels = 'ids',
    data_dir: PathText = DATA_DIR,
    exif: Exif = 'upright',
  ):
    self.exif = exif
    self._image_of_file = ImageReader(exif)
    self.spec, self._table = spec_and_table(
      Classes(tuple(class_names)),
      palette=palette,
      ignore_ids=ignore_ids,
      label_offset=label_offset,
      label_ids=label_ids,
      labels=labels,
    )
    self._image, self._label, self._key = image, label, key
    self._where = Path(dataset) / split  # for messages
    self._examples = _open(dataset, split, data_dir, (image, label, *([key] if key else [])))
    self.made_from = [Path(self._examples.dataset_info.data_dir) / 'dataset_info.json']

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> Example:
    if not 0 <= index < len(self):
      raise IndexError(f'{index=} of {len(self)} examples')
    stored = self._examples[index]
    name = f'{index:08}' if self._key is None else _text(stored[self._key])
    where = self._where / name
    image, label = self._read_image(where, stored), self._read_label(where, stored)
    if image.shape[:2] != label.shape:
      raise sizes_differ(where / self._image, image.shape, where / self._label, label.shape)
    return {'image': image, 'label': label, 'name': name}

  def label(self, index: int) -> np.ndarray:
    """The label alone: uint8 [H, W]."""
    return self._read_label(self._where / f'{index:08}', self._examples[index])

  def _read_image(self, where: Path, stored: dict[str, Any]) -> np.ndarray:
    value = stored[self._image]
    if isinstance(value, bytes):
      return self._image_of_file(where / self._image, data=value)
    value = np.asarray(value)
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[-1] != 3:
      raise UserError(
        f'{where / self._image} is {value.dtype} {list(value.shape)}, no image: name a feature '
        'that is uint8 [H, W, 3] with image=.'
      )
    return value

  def _read_label(self, where: Path, stored: dict[str, Any]) -> np.ndarray:
    value, path = stored[self._label], where / self._label
    if isinstance(value, bytes):
      return read_label(path, self._table, data=value)
    ids = np.asarray(value)
    if holds_colours(self._table) and ids.dtype == np.uint8 and ids.shape[2:] == (3,):
      return map_ids(path, ids.astype(np.int32) @ (1 << 16, 1 << 8, 1), self._table)
    ids = ids[..., 0] if ids.ndim == 3 and ids.shape[-1] == 1 else ids
    if ids.dtype.kind not in 'iu' or ids.ndim != 2:
      raise UserError(
        f'{path} is {ids.dtype} {list(ids.shape)}, no label: name a feature that holds an integer '
        'a pixel, [H, W] or [H, W, 1], with label=.'
      )
    return map_ids(path, ids, self._table)


def _text(value: Any) -> str:
  """A name that can be a file's, without its extension."""
  text = value.decode() if isinstance(value, bytes) else str(value)
  return str(Path(text).with_suffix('')).replace('/', '__')


def _open(dataset: str, split: str, data_dir: str, features: Sequence[str]) -> Any:
  """Random access to the examples, dicts by feature, with images as the bytes of their files."""
  try:
    import tensorflow_datasets as tfds
  except ImportError as e:
    raise UserError(
      f"reading {dataset} needs tensorflow-datasets: pip install 'pspnet_jax[tfds]'."
    ) from e
  try:
    # From what lies on the disk: the data set's own code may need TensorFlow.
    builder = tfds.core.read_only_builder.builder_from_files(
      dataset, data_dir=str(paths.given(data_dir))
    )
  except tfds.core.DatasetNotFoundError as e:
    raise UserError(f'{data_dir} holds no {dataset}: {_prepare(dataset, data_dir)}.') from e
  for feature in features:
    if feature not in builder.info.features:
      known = ', '.join(sorted(builder.info.features))
      raise UserError(f'{dataset} has no feature {feature!r}: it has {known}.')
  raw = {
    name: tfds.decode.SkipDecoding()
    for name, feature in builder.info.features.items()
    if isinstance(feature, tfds.features.Image)
  }
  try:
    return builder.as_data_source(split, decoders=raw)
  except NotImplementedError as e:
    raise UserError(
      f'{builder.data_path} holds no ArrayRecord files, which can be read at random: '
      f'{_prepare(dataset, data_dir)}.'
    ) from e
  except (ValueError, KeyError) as e:
    known = ', '.join(sorted(builder.info.splits))
    raise UserError(f'{dataset} has no split {split!r}: it has {known}.') from e


def _prepare(dataset: str, data_dir: str) -> str:
  return (
    f'tfds build {dataset} --file_format=array_record --data_dir={data_dir} makes it, or set '
    'data_dir to where that was done'
  )
