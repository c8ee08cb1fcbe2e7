"""Potsdam and Vaihingen, cut into tiles: pixels, places, splits, and colours of no class."""

import numpy as np
import pytest

pytest.importorskip('tensorflow_datasets', reason='needs the extra tfds')

from pspnet_jax.errors import UserError
from pspnet_jax.prepare import prepare
from tests.data.builders import aerial

POTSDAM = {'2_10': (600, 1100), '4_12': (512, 512), '5_15': (513, 520)}
VAIHINGEN = {'area1': (700, 512), 'area11': (512, 600), 'area2': (512, 513)}
# Image -> where its tiles begin, as (left, top).
TILES = {
  '2_10': [(0, 0), (512, 0), (588, 0), (0, 88), (512, 88), (588, 88)],
  '4_12': [(0, 0)],
  '5_15': [(0, 0), (8, 0), (0, 1), (8, 1)],
  'area1': [(0, 0), (0, 188)],
  'area11': [(0, 0), (88, 0)],
  'area2': [(0, 0), (1, 0)],
}


@pytest.fixture
def accepted(monkeypatch):
  images = {'train': 2, 'val': 1}
  aerial.accept(monkeypatch, 'potsdam', images, {'train': 7, 'val': 4})
  aerial.accept(monkeypatch, 'vaihingen', images, {'train': 4, 'val': 2})


def write_potsdam(folder, change=lambda name, label: label, sizes=POTSDAM, top='2_Ortho_RGB/'):
  images, labels = [('2_Ortho_RGB/top_potsdam_2_10_RGB.tfw', b'0.05')], []
  for name, size in sizes.items():
    image = aerial.encoded(aerial.picture(name, size), 'TIFF')
    images.append((f'{top}top_potsdam_{name}_RGB.tif', image))
    label = change(name, aerial.drawn(name, size, aerial.ISPRS))
    if label is not None:
      data = label if isinstance(label, bytes) else aerial.encoded(label, 'TIFF')
      labels.append((f'top_potsdam_{name}_label_noBoundary.tif', data))
  aerial.write_zip(folder / '2_Ortho_RGB.zip', images)
  aerial.write_zip(folder / '5_Labels_all_noBoundary.zip', labels)


def write_vaihingen(folder):
  images, labels = [('gts_for_participants/top_mosaic_09cm_area1.tif', b'with borders')], []
  for name, size in VAIHINGEN.items():
    image = aerial.encoded(aerial.picture(name, size), 'TIFF', compression='tiff_lzw')
    label = aerial.encoded(aerial.drawn(name, size, aerial.ISPRS), 'TIFF')
    images.append((f'top/top_mosaic_09cm_{name}.tif', image))
    labels.append((f'top_mosaic_09cm_{name}_noBoundary.tif', label))
  labels.append(('top_mosaic_09cm_area9_noBoundary.tif', b'has no image'))
  root = 'ISPRS_semantic_labeling_Vaihingen'
  aerial.write_zip(folder / f'{root}.zip', images)
  aerial.write_zip(folder / f'{root}_ground_truth_eroded_COMPLETE.zip', labels)


def check(examples, sizes):
  expected = {
    f'{name}_{left}_{top}_{left + 512}_{top + 512}': (name, left, top)
    for name in sizes
    for left, top in TILES[name]
  }
  assert list(examples) == list(expected)
  for key, (name, left, top) in expected.items():
    part = slice(top, top + 512), slice(left, left + 512)
    label = aerial.decoded(aerial.drawn(name, sizes[name], aerial.ISPRS), aerial.ISPRS)
    np.testing.assert_array_equal(examples[key]['label'], label[part], err_msg=key)
    np.testing.assert_array_equal(
      examples[key]['image'], aerial.picture(name, sizes[name])[part], err_msg=key
    )


@pytest.mark.parametrize('top', ['', '2_Ortho_RGB/'])
def test_tiles_of_potsdam_are_the_pixels_of_its_images(accepted, tmp_path, top):
  write_potsdam(tmp_path, top=top)
  train = aerial.prepared('potsdam', 'train', tmp_path)
  check(train, {name: POTSDAM[name] for name in ('2_10', '4_12')})
  check(aerial.prepared('potsdam', 'val', tmp_path), {'5_15': POTSDAM['5_15']})


def test_tiles_of_vaihingen_are_the_pixels_of_its_images(accepted, tmp_path):
  write_vaihingen(tmp_path)
  train = aerial.prepared('vaihingen', 'train', tmp_path)
  check(train, {name: VAIHINGEN[name] for name in ('area1', 'area11')})
  check(aerial.prepared('vaihingen', 'val', tmp_path), {'area2': VAIHINGEN['area2']})


def off_palette(of):
  def change(name, label):
    if name == of:
      label[:3, :100] = 252, 255, 0
    return label

  return change


def test_colours_of_no_class_are_ignored_and_counted_where_they_are_known(
  accepted, tmp_path, capsys
):
  write_potsdam(tmp_path, off_palette('4_12'))
  label = aerial.prepared('potsdam', 'train', tmp_path)['4_12_0_0_512_512']['label']
  expected = aerial.decoded(aerial.drawn('4_12', (512, 512), aerial.ISPRS), aerial.ISPRS)
  expected[:3, :100] = 255
  np.testing.assert_array_equal(label, expected)
  said = capsys.readouterr().out
  assert 'top_potsdam_4_12_label_noBoundary.tif: 300 of 262,144 pixels (0.1%) have colours' in said


def smaller(name, label):
  return label[:-1] if name == '2_10' else label


def no_tiff(name, label):
  return b'II*\0' if name == '2_10' else label


def lossy(name, label):
  return aerial.encoded(label, 'TIFF', compression='jpeg') if name == '2_10' else label


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (off_palette('2_10'), r'2_10_label_noBoundary\.tif has 300 of .* pixels .*252, 255, 0'),
    (smaller, r'2_10_RGB\.tif is 1100x600 but its label is 1100x599'),
    (no_tiff, r'2_10_label_noBoundary\.tif is .*damaged|2_10_label_noBoundary\.tif is no'),
    (lossy, r'2_10_label_noBoundary\.tif is a file of JPEG in TIFF'),
    (lambda name, label: None if name == '2_10' else label, r'2_10_RGB\.tif has no label'),
  ],
  ids=['colour', 'size', 'damaged', 'lossy', 'no label'],
)
def test_what_is_wrong_is_named(accepted, tmp_path, change, message):
  write_potsdam(tmp_path, change)
  with pytest.raises(UserError, match=message):
    prepare('potsdam', tmp_path / 'data', tmp_path)
  assert not list((tmp_path / 'data').rglob('*.array_record*'))


def test_missing_images_and_other_sizes_are_counted(accepted, tmp_path):
  write_potsdam(tmp_path, sizes={name: POTSDAM[name] for name in ('2_10', '4_12')})
  with pytest.raises(UserError, match=r"hold 0 images of the split 'val' instead of 1: download"):
    prepare('potsdam', tmp_path / 'data', tmp_path)
  write_potsdam(tmp_path, sizes={**POTSDAM, '5_15': (512, 512)})
  with pytest.raises(UserError, match=r"split 'val' in .* make 1 tiles instead of 4.*download"):
    prepare('potsdam', tmp_path / 'data', tmp_path)
  assert not (tmp_path / 'data' / 'potsdam' / '1.0.0').exists()


def test_archives_are_asked_for_by_name(tmp_path):
  message = r'2_Ortho_RGB\.zip .* is missing: download it from https://www\.isprs\.org/.* by hand'
  with pytest.raises(UserError, match=message):
    prepare('potsdam', tmp_path / 'data', tmp_path)
