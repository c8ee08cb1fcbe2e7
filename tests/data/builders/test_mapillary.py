"""Mapillary Vistas: 65 classes and one label that is ignored, in the layouts of both versions."""

import zipfile

import numpy as np
import pytest

from pspnet_jax.errors import UserError
from tests import published
from tests.data.builders.prepared import labels, prepare, same

SPLITS = {'training': ['-09k_aA', 'b_-1'], 'validation': ['cC0']}
COUNTS = {'train': 2, 'val': 1}


def ids_of(name):
  ids = np.random.default_rng(list(name.encode())).integers(0, 66, published.SIZE).astype(np.uint8)
  ids[0, :2] = 64, 65
  return ids


def write(root, version='', change=lambda ids: ids):
  with zipfile.ZipFile(root / 'mapillary-vistas-dataset_public_v1.2.zip', 'w') as archive:
    archive.writestr('config.json', '{}')
    for folder, names in SPLITS.items():
      for name in names:
        ids = change(ids_of(name))
        archive.writestr(f'{folder}/images/{name}.jpg', published.jpeg(name))
        archive.writestr(f'{folder}/{version}labels/{name}.png', published.palette_png(ids))
        archive.writestr(f'{folder}/{version}instances/{name}.png', published.png(ids))
        if version:
          archive.writestr(f'{folder}/v2.0/labels/{name}.png', published.palette_png(ids + 1))
    archive.writestr('testing/images/dD.jpg', published.jpeg('dD'))


@pytest.mark.parametrize('version', ['', 'v1.2/'])
def test_labels_are_the_indices_of_the_palette(monkeypatch, tmp_path, version):
  write(tmp_path, version)
  prepare(monkeypatch, tmp_path, 'mapillary', COUNTS)
  for split, names in (('train', SPLITS['training']), ('val', SPLITS['validation'])):
    expected = {name: np.where(ids_of(name) == 65, 255, ids_of(name)) for name in names}
    same(labels(tmp_path, 'mapillary', split), expected)


def test_labels_of_another_version_are_refused(monkeypatch, tmp_path):
  write(tmp_path, change=lambda ids: np.where(ids == 65, 123, ids))
  with pytest.raises(UserError, match=r'training/labels/-09k_aA\.png has .* id 123'):
    prepare(monkeypatch, tmp_path, 'mapillary', COUNTS)


def test_it_has_to_be_fetched_by_a_person(monkeypatch, tmp_path):
  message = (
    rf'public_v1\.2\.zip .* missing: .*mapillary\.com/dataset/vistas.* put it into {tmp_path}'
  )
  with pytest.raises(UserError, match=message):
    prepare(monkeypatch, tmp_path, 'mapillary', COUNTS)
