"""Which image belongs to which label, and what is said of files that belong to nothing."""

import shlex
from pathlib import Path

import pytest

from pspnet_jax.data.layout import Layout
from pspnet_jax.data.pairing import Unpaired, pairs_of_split, proposed_suffixes, refuse
from pspnet_jax.errors import UserError
from tests.data.folders import below, pairs_below, touch


def test_pairs_are_those_of_the_same_path_without_extension(tmp_path):
  touch(tmp_path, 'images/train/b.jpg', 'images/train/city/a.PNG', 'labels/train/b.png')
  touch(tmp_path, 'labels/train/city/a.tif', 'images/train/.hidden.jpg', 'images/train/notes.txt')
  pairs, unpaired, notes = pairs_of_split(str(tmp_path), 'train')
  assert pairs_below(tmp_path, pairs) == [
    ('images/train/b.jpg', 'labels/train/b.png'),
    ('images/train/city/a.PNG', 'labels/train/city/a.tif'),
  ]
  assert unpaired == []
  assert notes == [f'{tmp_path / "images/train"}: left aside as no images: 1 .txt.']


def test_every_file_without_a_partner_is_listed_with_its_remedy(tmp_path):
  touch(tmp_path, 'images/val/a.jpg', 'images/val/b.jpg', 'labels/val/b.png', 'labels/val/c.png')
  touch(tmp_path, 'images/val/b.png')
  pairs, unpaired, _ = pairs_of_split(str(tmp_path), 'val')
  assert pairs_below(tmp_path, pairs) == [('images/val/b.jpg', 'labels/val/b.png')]
  assert {u.kind: u.path.name for u in unpaired} == {
    'two files of one name': 'b.png',
    'image without label': 'a.jpg',
    'label without image': 'c.png',
  }
  assert all(u.message.endswith('.') and str(u.path) in u.message for u in unpaired)


def test_a_folder_without_images_says_what_is_there(tmp_path):
  touch(tmp_path, 'images/train/a.heic', 'images/train/b.heic', 'labels/train/a.png')
  with pytest.raises(UserError, match=r'images/train holds no image but 2 \.heic: expected'):
    pairs_of_split(str(tmp_path), 'train')
  with pytest.raises(UserError, match='labels/train holds no image but 1 of other names: '):
    swapped = Layout(image_folder='labels/{split}', image_suffix='_x', label_folder='images')
    pairs_of_split(str(tmp_path), 'train', swapped)


@pytest.mark.parametrize('extension', ['.npy', '.json', '.heic'])
def test_a_label_in_a_format_that_is_not_read_is_found(tmp_path, extension):
  touch(tmp_path, 'images/train/x/a.jpg', f'labels/train/x/a{extension}')
  _, [unpaired], _ = pairs_of_split(str(tmp_path), 'train')
  assert unpaired.message == (
    f'{tmp_path}/images/train/x/a.jpg has no label, for {tmp_path}/labels/train/x/a{extension} is '
    'of no format that can be read: save it as a.png.'
  )


@pytest.mark.parametrize(
  'image, label, settings',
  [
    ('f{}.jpg', 'f{}_mask.png', "--config.data.label_suffix=_mask"),
    ('f{}.jpg', 'f{}.jpg.png', "--config.data.label_suffix=.jpg.png"),
    ('f{}_leftImg8bit.png', 'f{}_gtFine_labelIds.png',
     "--config.data.image_suffix=_leftImg8bit --config.data.label_suffix=_gtFine_labelIds"),
    ('f{}_img.png', 'f{}.png', "--config.data.image_suffix=_img"),
  ],
)  # fmt: skip
def test_endings_that_would_make_pairs_are_proposed_and_make_them(tmp_path, image, label, settings):
  for i in range(10, 20):
    touch(tmp_path, f'images/train/{image.format(i)}', f'labels/train/{label.format(i)}')
    if 'gtFine' in label:
      touch(tmp_path, f'labels/train/f{i}_gtFine_color.png')
  _, unpaired, _ = pairs_of_split(str(tmp_path), 'train')
  with pytest.raises(UserError) as error:
    refuse(unpaired)
  assert str(error.value).endswith(f'there are pairs: give {settings}.')
  flags = [flag.removeprefix('--config.data.').split('=') for flag in shlex.split(settings)]
  pairs, unpaired, _ = pairs_of_split(str(tmp_path), 'train', Layout(**dict(flags)))
  assert len(pairs) == 10 and unpaired == []


def test_a_few_strays_propose_nothing(tmp_path):
  for i in range(4):
    touch(tmp_path, f'images/train/f{i}.jpg', f'labels/train/f{i}.png')
  (tmp_path / 'labels/train/f0.png').rename(tmp_path / 'labels/train/f0_old.png')
  _, unpaired, _ = pairs_of_split(str(tmp_path), 'train')
  assert [u.message.partition(': ')[2] for u in unpaired] == [
    f'add {tmp_path}/labels/train/f0.png or remove the image.',
    f'add {tmp_path}/images/train/f0_old.jpg or remove the label.',
  ]
  assert proposed_suffixes(['street'], {'strange': '.png'}) is None
  assert proposed_suffixes([], {'a': '.png'}) is None
  assert proposed_suffixes(['a', 'b'], {}) is None


def test_names_are_the_same_however_accents_are_encoded(tmp_path):
  touch(tmp_path, 'images/train/caf\u00e9.jpg', 'labels/train/cafe\u0301.png')
  pairs, unpaired, _ = pairs_of_split(str(tmp_path), 'train')
  assert len(pairs) == 1 and unpaired == []
  touch(tmp_path, 'images/train/cafe\u0301.jpg')
  _, [unpaired], _ = pairs_of_split(str(tmp_path), 'train')
  assert 'differ only in case, or in how accents are encoded (Unicode NFC' in unpaired.message


def test_a_share_of_all_examples_is_the_validation_split(tmp_path):
  names = [f'f{i}' for i in range(30)]
  for name in names:
    touch(tmp_path, f'images/{name}.jpg', f'labels/{name}.png')
  layout = Layout(val_share=0.2)
  split = {s: pairs_of_split(str(tmp_path), s, layout) for s in ('train', 'val')}
  train, val = ({image.stem for image, _ in split[s].pairs} for s in ('train', 'val'))
  assert train | val == set(names) and not train & val and 0 < len(val) < 15
  assert f'images: {len(val)} example(s) are the split val, chosen by' in split['val'].notes[0]

  # A file without partner is a matter of its own split only; those that come move no other.
  touch(tmp_path, 'images/new.jpg', *(f'images/x{i}.jpg' for i in range(9)))
  after = {s: pairs_of_split(str(tmp_path), s, layout) for s in ('train', 'val')}
  alone = [below(tmp_path, [u.path for u in after[s].unpaired]) for s in ('train', 'val')]
  assert sum(map(len, alone)) == 10 and not set(alone[0]) & set(alone[1])
  assert after['train'].pairs == split['train'].pairs and after['val'].pairs == split['val'].pairs
  with pytest.raises(UserError, match=r'val_share=1e-09 leaves none of 40 examples to val: '):
    pairs_of_split(str(tmp_path), 'val', Layout(val_share=1e-9))


def test_the_first_is_refused_and_its_kind_counted():
  refuse([])
  kind = 'image without label'
  files = [Unpaired(kind, Path(x), f'{x} has no label: add it.') for x in ('a', 'b', 'c')]
  other = Unpaired('label without image', Path('z'), 'z has no image.')
  with pytest.raises(UserError, match=r'^a \(and 2 more\) has no label: add it\.$'):
    refuse([*files, other])
