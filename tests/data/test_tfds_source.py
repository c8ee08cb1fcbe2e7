"""A data set that TFDS prepared, in the layout of oxford_iiit_pet, read without its builder."""

import io

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.sources import open_source
from pspnet_jax.errors import UserError

tfds = pytest.importorskip('tensorflow_datasets')

from tensorflow_datasets.core.dataset_builder import ShardBasedBuilder  # noqa: E402

PETS = {
  'dataset': 'oxford_iiit_pet',
  'label': 'segmentation_mask',
  'key': 'file_name',
  'class_names': ('pet', 'background', 'border'),
  'label_offset': 1,
}


def png(pixels: np.ndarray) -> bytes:
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def pet(i: int) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(i)
  return {
    'image': rng.integers(0, 256, (20 + i, 30, 3), np.uint8),
    'trimap': rng.integers(1, 4, (20 + i, 30), np.uint8),
  }


class OxfordIiitPet(ShardBasedBuilder, skip_registration=True):
  """Features as in TFDS's own oxford_iiit_pet."""

  name = 'oxford_iiit_pet'
  VERSION = tfds.core.Version('3.2.0')
  code_path = None

  def _info(self):
    features = {
      'image': tfds.features.Image(),
      'label': tfds.features.ClassLabel(num_classes=37),
      'species': tfds.features.ClassLabel(names=['Cat', 'Dog']),
      'file_name': tfds.features.Text(),
      'segmentation_mask': tfds.features.Image(shape=(None, None, 1), use_colormap=True),
    }
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

  def _shard_iterators_per_split(self, dl_manager):
    return {'train': [lambda: _examples(range(4))], 'test': [lambda: _examples(range(4, 6))]}


def _examples(indices):
  for i in indices:
    yield (
      str(i),
      {
        'image': io.BytesIO(png(pet(i)['image'])),
        'label': 7,
        'species': 1,
        'file_name': f'breed_{i}.jpg',
        'segmentation_mask': io.BytesIO(png(pet(i)['trimap'])),
      },
    )


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  """What `tfds build oxford_iiit_pet --file_format=array_record` leaves, of six pets."""
  folder = tmp_path_factory.mktemp('tfds')
  OxfordIiitPet(data_dir=folder, file_format='array_record').download_and_prepare()
  return folder


def test_examples_are_those_that_were_written(data_dir):
  source = open_source('tfds', 'train', data_dir=str(data_dir), **PETS)
  assert [path.is_file() for path in source.made_from] == [True]
  assert len(source) == 4 and source.spec.class_names == ('pet', 'background', 'border')
  for i in range(4):
    example = source[i]
    np.testing.assert_array_equal(example['image'], pet(i)['image'])
    np.testing.assert_array_equal(example['label'], pet(i)['trimap'] - 1)
    np.testing.assert_array_equal(source.label(i), pet(i)['trimap'] - 1)
    assert example['name'] == f'breed_{i}'


def test_splits_are_written_as_tfds_writes_them(data_dir):
  source = open_source('tfds', 'train[50%:]', data_dir=str(data_dir), **PETS)
  assert [source[i]['name'] for i in range(len(source))] == ['breed_2', 'breed_3']


def test_ids_that_are_no_class_are_refused(data_dir):
  two = {**PETS, 'class_names': ('pet', 'background')}
  source = open_source('tfds', 'test', data_dir=str(data_dir), **two)
  with pytest.raises(UserError, match=r'oxford_iiit_pet/test/breed_4/segmentation_mask .*3'):
    source[0]
  ignored = open_source('tfds', 'test', data_dir=str(data_dir), **two, ignore_ids=(3,))
  assert set(np.unique(ignored[0]['label'])) == {0, 1, 255}


@pytest.mark.parametrize(
  ('changes', 'split', 'message'),
  [
    ({'dataset': 'oxford_pets'}, 'train', 'holds no oxford_pets: tfds build oxford_pets'),
    ({'label': 'mask'}, 'train', "no feature 'mask': it has file_name, image"),
    ({}, 'val', "no split 'val': it has"),
    ({'label_ids': (1, 2)}, 'train', '2 label_ids for 3 classes'),
    ({'label': 'label'}, 'train', 'no label: name a feature that holds an integer a pixel'),
  ],
)
def test_what_is_not_there_is_named(data_dir, changes, split, message):
  with pytest.raises(UserError, match=message):
    open_source('tfds', split, data_dir=str(data_dir), **{**PETS, **changes})[0]
