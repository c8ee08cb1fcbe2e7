"""Which image belongs to which label, and what is said of files that belong to nothing."""

from pathlib import Path

import pytest

from pspnet_jax.data.pairing import Unpaired, pairs_of_list, pairs_of_split, refuse
from pspnet_jax.errors import UserError


def touch(root, *names):
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'')


def below(root, pairs):
  return [tuple(str(path.relative_to(root)) for path in pair) for pair in pairs]


def test_pairs_are_those_of_the_same_path_without_extension(tmp_path):
  touch(tmp_path, 'images/train/b.jpg', 'images/train/city/a.PNG', 'labels/train/b.png')
  touch(tmp_path, 'labels/train/city/a.tif', 'images/train/.hidden.jpg', 'images/train/notes.txt')
  pairs, unpaired = pairs_of_split(str(tmp_path), 'train')
  assert below(tmp_path, pairs) == [
    ('images/train/b.jpg', 'labels/train/b.png'),
    ('images/train/city/a.PNG', 'labels/train/city/a.tif'),
  ]
  assert unpaired == []


def test_every_file_without_a_partner_is_listed_with_its_remedy(tmp_path):
  touch(tmp_path, 'images/val/a.jpg', 'images/val/b.jpg', 'labels/val/b.png', 'labels/val/c.png')
  touch(tmp_path, 'images/val/b.png')
  pairs, unpaired = pairs_of_split(str(tmp_path), 'val')
  assert below(tmp_path, pairs) == [('images/val/b.jpg', 'labels/val/b.png')]
  assert {u.kind: u.path.name for u in unpaired} == {
    'two files of one name': 'b.png',
    'image without label': 'a.jpg',
    'label without image': 'c.png',
  }
  assert all(u.message.endswith('.') and str(u.path) in u.message for u in unpaired)


def test_what_is_missing_is_said_with_what_there_is(tmp_path):
  touch(tmp_path, 'images/training/a.jpg')
  with pytest.raises(UserError, match=r'images/train does not exist \(in .*images: training\)'):
    pairs_of_split(str(tmp_path), 'train')
  (tmp_path / 'labels' / 'empty').mkdir(parents=True)
  (tmp_path / 'images' / 'empty').mkdir(parents=True)
  with pytest.raises(UserError, match='holds no image'):
    pairs_of_split(str(tmp_path), 'empty')


def test_lists_keep_their_order_and_take_spaces_between_tabs(tmp_path):
  touch(tmp_path, 'b.jpg', 'b.png', 'a 1.jpg', 'a 1.png')
  (tmp_path / 'list.txt').write_text('b.jpg b.png\n\na 1.jpg\ta 1.png\n')
  pairs, unpaired = pairs_of_list(str(tmp_path), 'list.txt')
  assert below(tmp_path, pairs) == [('b.jpg', 'b.png'), ('a 1.jpg', 'a 1.png')]
  assert unpaired == []


def test_files_that_a_list_names_and_nobody_has_are_located(tmp_path):
  touch(tmp_path, 'a.jpg')
  (tmp_path / 'list.txt').write_text('a.jpg a.png\n')
  pairs, [unpaired] = pairs_of_list(str(tmp_path), 'list.txt')
  assert pairs == [] and unpaired.path == tmp_path / 'a.png'
  assert f'a.png, line 1 of {tmp_path / "list.txt"}, does not exist' in unpaired.message


def test_the_first_is_refused_and_its_kind_counted():
  refuse([])
  kind = 'image without label'
  files = [Unpaired(kind, Path(x), f'{x} has no label: add it.') for x in ('a', 'b', 'c')]
  other = Unpaired('label without image', Path('z'), 'z has no image.')
  with pytest.raises(UserError, match=r'^a \(and 2 more\) has no label: add it\.$'):
    refuse([*files, other])
