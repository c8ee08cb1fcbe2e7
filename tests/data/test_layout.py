"""Where images and labels lie and what they are called, by patterns; and a share for validation."""

import pytest

from pspnet_jax.data.layout import Layout, sides_of_split
from pspnet_jax.errors import UserError
from tests.data.folders import below, touch


def sides(root, split='', listed=False, **layout):
  return sides_of_split(root, split, Layout(**layout), listed=listed)


@pytest.mark.parametrize(
  'names, layout',
  [
    # VOC's folders, one folder for each, and both in one folder.
    (('JPEGImages/a.jpg', 'SegmentationClass/a.png'),
     {'image_folder': 'JPEGImages', 'label_folder': 'SegmentationClass'}),
    (('a.jpg', 'a_mask.png'), {'image_folder': '', 'label_folder': '', 'label_suffix': '_mask'}),
    (('d/a_img.png', 'd/a_MASK.PNG'),
     {'image_folder': 'd', 'label_folder': 'd', 'image_suffix': '_img', 'label_suffix': '_mask'}),
    (('d/a.jpg', 'd/a.png'),
     {'image_folder': 'd', 'label_folder': 'd', 'image_suffix': '.jpg', 'label_suffix': '.png'}),
    (('a.jpg', 'masks/a.png'), {'image_folder': '', 'label_folder': 'masks'}),
    (('images/a.jpg', 'masks/a.jpg.png'),
     {'image_folder': 'images', 'label_folder': 'masks', 'label_suffix': '.jpg.png'}),
  ],
)  # fmt: skip
def test_images_and_labels_are_told_apart(tmp_path, names, layout):
  touch(tmp_path, *names)
  images, labels = sides(tmp_path, **layout)
  found = [{name: below(tmp_path, [path])[0] for name, path in s.files.items()}
           for s in (images, labels)]  # fmt: skip
  assert found == [{'a': names[0]}, {'a': names[1]}]
  assert images.notes() == labels.notes() == []


def test_cityscapes_as_it_is_unpacked(tmp_path):
  name = 'ulm/ulm_000000_000019'
  kinds = 'color', 'instanceIds', 'labelIds'
  touch(tmp_path, f'leftImg8bit/train/{name}_leftImg8bit.png')
  touch(tmp_path, *(f'gtFine/train/{name}_gtFine_{kind}.png' for kind in kinds))
  touch(tmp_path, f'gtFine/train/{name}_gtFine_polygons.json')
  images, labels = sides(
    tmp_path,
    'train',
    image_folder='leftImg8bit/{split}',
    label_folder='gtFine/{split}',
    image_suffix='_leftImg8bit',
    label_suffix='_gtFine_labelIds',
  )
  assert [*images.files] == [*labels.files] == [name]
  assert images.notes() == []
  assert [note.partition(': ')[2] for note in labels.notes()] == [
    "2 file(s) whose names do not end in '_gtFine_labelIds', such as "
    'ulm_000000_000019_gtFine_color.png, are set aside.',
    'left aside as no images: 1 .json.',
  ]


def test_images_that_would_be_their_own_labels_are_refused(tmp_path):
  touch(tmp_path, 'd/a.png')
  with pytest.raises(
    UserError, match=r'd/a\.png would be an image and a label: .*label_suffix=_mask\.$'
  ):
    sides(tmp_path, image_folder='d', label_folder='d')


def test_one_folder_for_every_split_is_refused_unless_a_list_or_a_share_tells_them_apart(tmp_path):
  touch(tmp_path, 'i/a.png', 'l/a.png')
  layout = {'image_folder': 'i', 'label_folder': 'l'}
  with pytest.raises(UserError, match='i would be the split val and every other one: give --con'):
    sides(tmp_path, 'val', **layout)
  for case in ({'listed': True}, {'val_share': 0.5}):
    assert [*sides(tmp_path, 'val', **layout, **case)[0].files] == ['a']
  assert [*sides(tmp_path, '', **layout)[0].files] == ['a']


def test_what_is_missing_is_said_with_what_there_is(tmp_path):
  touch(tmp_path, 'images/training/a.jpg', 'labels/training/a.png')
  with pytest.raises(UserError, match=r'images/train does not exist \(in .*: training\)') as e:
    sides(tmp_path, 'train', label_suffix='_mask')
  assert 'expected images/<split>/NAME.jpg with labels/<split>/NAME_mask.png in' in str(e.value)
  with pytest.raises(UserError, match=r'far/val does not exist \(in .*: images, labels\)'):
    sides(tmp_path, 'val', image_folder='so/far/{split}')


@pytest.mark.parametrize('folder', ['train/', ''])
def test_without_a_validation_split_a_share_is_proposed(tmp_path, folder):
  touch(tmp_path, f'images/{folder}a.jpg', f'labels/{folder}a.png')
  with pytest.raises(UserError, match=r'images/val does not exist .*data\.val_share=0\.1 to set'):
    sides(tmp_path, 'val')
  for split in ('train', 'val'):  # the same folder for both: names decide
    assert below(tmp_path, sides(tmp_path, split, val_share=0.1)[0].files.values()) == [
      f'images/{folder}a.jpg'
    ]


def test_a_share_beside_a_validation_split_is_refused(tmp_path):
  for split in ('train', 'val'):
    touch(tmp_path, f'images/{split}/a.png', f'labels/{split}/a.png')
  for split in ('train', 'val'):
    with pytest.raises(UserError, match=r'images/val exists: leave val_share out'):
      sides(tmp_path, split, val_share=0.1)


def test_shares_are_disjoint_and_stay_when_examples_come():
  layout = Layout(val_share=0.2)
  names = [f'city/frame_{i}' for i in range(2000)]
  train, val = (set(filter(layout.share(split), names)) for split in ('train', 'val'))
  assert train | val == set(names) and not train & val
  assert 330 < len(val) < 470  # 2000 draws of 0.2 have a standard deviation of 18
  # For ever: another hash would move examples from one split to the other.
  assert sorted(val)[:3] == ['city/frame_1001', 'city/frame_1007', 'city/frame_1009']
  assert set(filter(Layout(val_share=0.3).share('val'), names)) > val
  assert layout.share('val')('caf\u00e9') == layout.share('val')('cafe\u0301')


def test_shares_that_are_none_are_refused():
  for share in (1, -0.1, 2):
    with pytest.raises(UserError, match='give a share from 0 to below 1'):
      Layout(val_share=share)
  with pytest.raises(UserError, match="'test' is neither"):
    Layout(val_share=0.1).share('test')
