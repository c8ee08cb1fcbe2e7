from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.folder import Folder
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import UserError

CAMVID = Path(__file__).parents[3] / 'shared' / 'camvid'
CAMVID_CLASSES = [
  'Sky',
  'Building',
  'Pole',
  'Road',
  'Pavement',
  'Tree',
  'SignSymbol',
  'Fence',
  'Car',
  'Pedestrian',
  'Bicyclist',
]


def add(root, image=None, label=None, size=(8, 6), value=1):
  """Writes an image or a label of one colour or id; size is width and height."""
  for name, folder, mode in ((image, 'images', 'RGB'), (label, 'labels', 'L')):
    if name:
      path = root / folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.new(mode, size, (value, 0, 0) if mode == 'RGB' else value).save(path)


@pytest.fixture
def root(tmp_path):
  """Three pairs, one of them in a folder below, and three classes."""
  root = tmp_path / 'data'
  for i, stem in enumerate(('b', 'a', 'city/c')):
    add(root, f'train/{stem}.png', f'train/{stem}.png', value=i)
  (root / 'classes.txt').write_text('sky 1 2 3\ntraffic light 4 5 6\nroad 7 8 9\n')
  return root


def refusal(function, *arguments, **options):
  """The message, one sentence."""
  with pytest.raises(UserError) as caught:
    function(*arguments, **options)
  assert str(caught.value).endswith('.')
  assert '. ' not in str(caught.value)
  return str(caught.value)


def test_pairs_are_sorted_and_named(root):
  folder = Folder(str(root))
  assert len(folder) == 3
  examples = [folder[i] for i in range(3)]
  assert [example['name'] for example in examples] == ['a', 'b', 'c']
  assert [int(example['label'][0, 0]) for example in examples] == [1, 0, 2]
  assert examples[0]['image'].shape == (6, 8, 3)
  assert examples[0]['label'].dtype == np.uint8
  assert folder.spec.class_names == ('sky', 'traffic light', 'road')
  assert folder.spec.palette == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
  with pytest.raises(IndexError):
    folder[3]


def test_names_of_equal_files_in_different_folders_differ(root):
  add(root, 'train/town/c.jpg', 'train/town/c.png')
  names = {example['name'] for example in Folder(str(root))}
  assert len(names) == 4
  assert not any('/' in name for name in names)


def test_hidden_and_foreign_files_are_no_images(root):
  (root / 'images' / 'train' / '.DS_Store').write_bytes(b'x')
  (root / 'images' / 'train' / '._a.png').write_bytes(b'x')
  (root / 'images' / 'train' / 'Thumbs.db').write_bytes(b'x')
  assert len(Folder(str(root))) == 3


def test_classes_as_arguments(root):
  folder = Folder(
    str(root),
    class_names=('a', 'b'),
    ignore_ids=(0,),
    label_offset=1,
    palette=((0, 0, 0), (9, 9, 9)),
  )
  assert [int(folder[i]['label'][0, 0]) for i in range(3)] == [0, IGNORE_LABEL, 1]
  assert folder.spec.palette[1] == (9, 9, 9)


def test_classes_without_colours_get_the_default_palette(root):
  (root / 'classes.txt').write_text('sky\nlight\nroad\n')
  assert Folder(str(root)).spec.palette == default_palette(3)


def test_ids_from_the_class_file(root):
  (root / 'classes.txt').write_text(
    '# comment\nlight  # the second\nroad\n\nignore: 0 7\nlabel_offset: 1'
  )
  assert [int(Folder(str(root))[i]['label'][0, 0]) for i in range(3)] == [0, IGNORE_LABEL, 1]
  (root / 'classes.txt').write_text('x\ny\nz\nlabel_ids: 2 1 0')
  assert [int(Folder(str(root))[i]['label'][0, 0]) for i in range(3)] == [1, 2, 0]


# the folder


def test_missing_root_says_what_is_expected(tmp_path):
  message = refusal(Folder, str(tmp_path / 'nowhere'))
  assert 'nowhere' in message
  assert 'images/<split>' in message


def test_missing_split_names_those_that_exist(root):
  message = refusal(Folder, str(root), 'val')
  assert 'val' in message
  assert 'train' in message


def test_missing_labels_folder(root, tmp_path):
  (root / 'labels').rename(tmp_path / 'elsewhere')
  assert str(root / 'labels' / 'train') in refusal(Folder, str(root))


def test_empty_folder(tmp_path):
  for name in ('images', 'labels'):
    (tmp_path / name / 'train').mkdir(parents=True)
  assert 'holds no image' in refusal(Folder, str(tmp_path), class_names=('a', 'b'))


def test_image_without_label_and_the_reverse(root):
  add(root, image='train/d.jpg')
  assert str(root / 'labels' / 'train' / 'd.png') in refusal(Folder, str(root))
  add(root, image='train/e.jpg')
  assert '1 more' in refusal(Folder, str(root))
  add(root, label='train/d.png')
  add(root, label='train/e.png')
  add(root, label='train/f.png')
  message = refusal(Folder, str(root))
  assert 'f.png' in message
  assert 'no image' in message


def test_two_images_of_one_name(root):
  add(root, image='train/a.jpg')
  message = refusal(Folder, str(root))
  assert 'a.jpg' in message
  assert 'a.png' in message


def test_sizes_that_differ_name_both_files(root):
  add(root, label='train/a.png', size=(6, 8))
  message = refusal(Folder(str(root)).__getitem__, 0)
  for part in ('images/train/a.png', 'labels/train/a.png', '8x6', '6x8'):
    assert part in message
  assert 'EXIF' not in message


def test_label_drawn_on_a_turned_photo_gets_a_hint(root):
  exif = Image.Exif()
  exif[0x0112] = 6
  (root / 'images' / 'train' / 'a.png').unlink()
  Image.new('RGB', (8, 6)).save(root / 'images' / 'train' / 'a.jpg', exif=exif)
  add(root, label='train/a.png', size=(6, 8))
  assert 'EXIF orientation (6)' in refusal(Folder(str(root), exif='stored').__getitem__, 0)


def test_illegal_ids_and_broken_files_surface_on_access(root):
  add(root, label='train/a.png', value=9)
  (root / 'images' / 'train' / 'b.png').write_bytes(b'')
  folder = Folder(str(root))
  assert 'id 9' in refusal(folder.__getitem__, 0)
  assert 'b.png is empty' in refusal(folder.__getitem__, 1)


def test_colours_of_the_classes_may_stand_for_them(root):
  """Folder reads colours once it is told to, and says how when it is not."""
  for name, value in (('a', (4, 5, 6)), ('b', (1, 2, 3)), ('city/c', (7, 8, 9))):
    Image.new('RGB', (8, 6), value).save(root / 'labels' / 'train' / f'{name}.png')
  message = refusal(Folder(str(root)).__getitem__, 0)
  assert 'labels/train/a.png' in message and '--config.data.labels=colours' in message
  folder = Folder(str(root), labels='colours')
  assert [int(folder[i]['label'][0, 0]) for i in range(3)] == [1, 0, 2]
  assert int(folder.stored_label(0)[0, 0]) == 0x040506
  with (root / 'classes.txt').open('a') as file:
    file.write('\nlabels: colours\n')
  assert int(Folder(str(root))[0]['label'][0, 0]) == 1
  Image.new('RGB', (8, 6), (4, 5, 7)).save(root / 'labels' / 'train' / 'a.png')
  message = refusal(Folder(str(root)).__getitem__, 0)
  assert '(4, 5, 7)' in message and '100.00%' in message and '(4, 5, 6)' in message


# the class file


def test_class_file_that_is_missing_or_empty(root):
  (root / 'classes.txt').write_text('# nothing\n')
  assert 'classes.txt' in refusal(Folder, str(root))
  (root / 'classes.txt').unlink()
  assert 'classes.txt' in refusal(Folder, str(root))
  (root / 'classes.txt').write_text('sky\nroad\nlabel_offset: 1 2')
  assert 'label_offset' in refusal(Folder, str(root))


def test_numbers_that_do_not_fit_the_classes(root):
  assert 'label_ids' in refusal(Folder, str(root), label_ids=(0, 1))
  assert 'palette' in refusal(Folder, str(root), palette=((0, 0, 0),))
  assert 'palette' in refusal(Folder, str(root), palette=((0, 0), (1, 1), (2, 2)))


# list files


def test_list_files_of_semseg(root):
  (root / 'train.txt').write_text(
    'images/train/b.png labels/train/b.png\n\nimages/train/city/c.png\tlabels/train/city/c.png\n'
  )
  folder = Folder(str(root), list_file='train.txt')
  assert [example['name'] for example in folder] == ['b', 'c']


@pytest.mark.parametrize(
  'text, named',
  [
    ('images/train/b.png', 'train.txt:1'),
    ('images/train/b.png labels/train/b.png x', 'train.txt:1'),
    ('images/train/nope.png labels/train/b.png', 'nope.png'),
    ('\n', 'empty'),
    (
      'images/train/b.png labels/train/b.png\nimages/train/b.png labels/train/b.png',
      'b.png stands in lines 1 and 2',
    ),
  ],
)
def test_bad_list_files(root, text, named):
  (root / 'train.txt').write_text(text)
  assert named in refusal(Folder, str(root), list_file='train.txt')


def test_folders_and_names_as_other_data_sets_have_them(root):
  (root / 'images').rename(root / 'leftImg8bit')
  (root / 'labels').rename(root / 'gt')
  for folder, end in (('leftImg8bit', '_img'), ('gt', '_ids')):
    for path in [*(root / folder).rglob('*.png')]:
      path.rename(path.with_name(f'{path.stem}{end}.png'))
  (root / 'gt' / 'train' / 'a_color.png').write_bytes(b'')
  patterns = {'image_folder': 'leftImg8bit/{split}', 'label_folder': 'gt/{split}'}
  ends = {'image_suffix': '_img', 'label_suffix': '_ids'}
  folder = Folder(str(root), **patterns, **ends)
  assert [int(example['label'][0, 0]) for example in folder] == [1, 0, 2]
  assert folder.names == ['a_img', 'b_img', 'c_img']
  [note] = folder.notes
  assert "1 file(s) whose names do not end in '_ids', such as a_color.png, are set aside." in note
  assert 'expected leftImg8bit/<split>/NAME_img.jpg with gt/' in refusal(
    Folder, str(root / 'no'), **patterns, **ends
  )


def test_a_share_makes_the_splits_of_one_folder(root):
  for i in range(20):
    add(root, f'train/f{i}.png', f'train/f{i}.png')
  names = [Folder(str(root), split, val_share=0.3).names for split in ('train', 'val')]
  assert sorted(names[0] + names[1]) == sorted(Folder(str(root)).names) and names[1]


def test_missing_list_file(root):
  assert 'nowhere.txt' in refusal(Folder, str(root), list_file='nowhere.txt')


@pytest.mark.skipif(not CAMVID.is_dir(), reason='CamVid is not at ../shared/camvid')
def test_real_scenes():
  folder = Folder(str(CAMVID), 'val', class_names=CAMVID_CLASSES, ignore_ids=(11,))
  assert len(folder) == 101
  example = folder[0]
  assert example['image'].shape == (360, 480, 3)
  assert set(np.unique(example['label'])) <= {*range(11), IGNORE_LABEL}
  assert 'id 11' in refusal(Folder(str(CAMVID), 'val', class_names=CAMVID_CLASSES).__getitem__, 0)
