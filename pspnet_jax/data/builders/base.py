"""What the TFDS builders of the published data sets share: from archives to ArrayRecord files."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import ShardBasedBuilder

from pspnet_jax.data import pillow, prepared
from pspnet_jax.data.builders.archives import Download, Member
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.label_ids import read_label
from pspnet_jax.data.paired_files import sizes_differ
from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec
from pspnet_jax.errors import BadData, UserError


class Pair(NamedTuple):
  """An example before it is written."""

  name: str
  image: Member
  label: Callable[[], np.ndarray | None]  # uint8 [H, W], class ids and 255; None: all ignored


class Builder(ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Writes each image as it is in its archive and its label as a PNG of class ids and 255.

  Examples are sorted by name and written shard by shard, which takes no TensorFlow and little
  memory, where TFDS's shuffling builders need the one or the other from a gigabyte on.

  Attributes:
    spec: the classes.
    homepage: address of the data set's page.
    downloads: the archives.
    counts: how many examples each split has.
    shard_size: examples a file.
    manual_dir: where archives may lie already.
    say: told what is being done.
    advance: called after each example.
  """

  VERSION = tfds.core.Version(prepared.VERSION)
  # Where TFDS would look for checksums. `Download` has them, and looking needs a package that TFDS
  # does not list among its requirements.
  code_path = None
  spec: DatasetSpec
  homepage: str
  downloads: tuple[Download, ...]
  counts: ClassVar[Mapping[str, int]]
  shard_size = 1024
  manual_dir = Path()
  say: Callable[[str], None] = staticmethod(print)
  advance: Callable[[], None] = staticmethod(lambda: None)

  def __init_subclass__(cls) -> None:
    # TFDS's own registry has a `cityscapes` too.
    super().__init_subclass__(skip_registration=True)

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    """The examples of each split, from the paths of the archives by file name."""
    raise NotImplementedError

  def _counts_of_pairs(self) -> Mapping[str, int]:
    """How many examples `pairs` has of each split, if the archives are whole."""
    return self.counts

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=(self.__doc__ or '').split('\n')[0],
      homepage=self.homepage,
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(None, None, 3)),
          'label': tfds.features.Image(shape=(None, None, 1)),
          'name': tfds.features.Text(),
        }
      ),
      metadata=tfds.core.MetadataDict(
        class_names=self.spec.class_names, palette=self.spec.palette, ignore_label=IGNORE_LABEL
      ),
    )

  def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, list[Callable[[], Any]]]:
    splits = self.pairs(self._archives(dl_manager))
    files = ' and '.join(download.file for download in self.downloads)
    for split, expected in self._counts_of_pairs().items():
      if len(splits[split]) != expected:
        raise UserError(
          f'{files} hold {len(splits[split]):,} images of the split {split!r} instead of '
          f'{expected:,}: download them again.'
        )
    size = self.shard_size
    self.say('Writing examples ...')
    return {
      split: [
        functools.partial(self._examples, pairs[i : i + size]) for i in range(0, len(pairs), size)
      ]
      for split, pairs in splits.items()
    }

  def _archives(self, dl_manager: Any) -> dict[str, Path]:
    paths, missing = {}, {}
    for download in self.downloads:
      path = download.find(self.manual_dir)
      if path is None:
        missing[download.file] = download.url
        self.say(f'Downloading {download.url} ({download.size}) ...')
      else:
        paths[download.file] = path
    try:
      if missing:
        paths |= {file: Path(path) for file, path in dl_manager.download(missing).items()}
    except Exception as e:  # requests, urllib3, TFDS and the file system raise their own
      files = ' and '.join(f'{file} from {url}' for file, url in missing.items())
      raise UserError(
        f'the download failed ({type(e).__name__}: {str(e).splitlines()[0][:200]}): run the '
        f'command again, or get {files} by other means and put it into {self.manual_dir}.'
      ) from e
    for download in self.downloads:
      self.say(f'Checking {paths[download.file]} ...')
      download.verify(paths[download.file])
    return paths

  def _log_download_bytes(self) -> None:
    """Leaves out what TFDS would say: that it does not know how much there is to do."""

  def _log_download_done(self) -> None:
    """Leaves out what `say` says."""

  def _examples(self, pairs: Sequence[Pair]) -> Iterator[tuple[str, dict[str, Any]]]:
    for pair, example in zip(pairs, in_order(_encode, pairs), strict=True):
      self.advance()
      yield pair.name, example


def paired(
  images: Mapping[str, Member], labels: Mapping[str, Member], table: np.ndarray
) -> list[Pair]:
  """Examples of the images and label files with the same keys.

  Raises:
    UserError: if one has no partner; it names the file.
  """
  check_partners(images, labels)
  return [
    Pair(name, image, functools.partial(_label, labels[name], table))
    for name, image in images.items()
  ]


def check_partners(images: Mapping[str, object], labels: Mapping[str, object]) -> None:
  """Raises UserError unless both have the same keys; it names what has no partner."""
  alone = sorted(images.keys() ^ labels.keys())
  if alone:
    member = images.get(alone[0]) or labels[alone[0]]
    other = 'label' if alone[0] in images else 'image'
    count = len(alone) - 1
    more = f', and {count} more {"file has" if count == 1 else "files have"} no partner'
    raise UserError(f'{member} has no {other}{more if count else ""}: download the archives again.')


def _label(member: Member, table: np.ndarray) -> np.ndarray:
  return read_label(str(member), table, data=member.read())


def _encode(pair: Pair) -> dict[str, Any]:
  data = pair.image.read()
  try:
    with pillow.open_image(str(pair.image), data) as image:
      size = image.height, image.width
  except BadData as e:
    if e.kind == 'huge image':
      raise
    raise UserError(f'{pair.image} is no image: download the archive again.') from e
  label = pair.label()
  if label is None:
    label = np.full(size, IGNORE_LABEL, np.uint8)
  if label.shape != size:
    raise sizes_differ(Path(str(pair.image)), size, Path('its label'), label.shape)
  png = cv2.imencode('.png', label, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes()
  return {'image': io.BytesIO(data), 'label': io.BytesIO(png), 'name': pair.name}
