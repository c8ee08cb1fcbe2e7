"""Which files of a folder are images, and what is said of the others."""

import os

import pytest
from PIL import Image

from pspnet_jax.data.decode import read_image
from pspnet_jax.data.image_files import IMAGE_SUFFIXES, counted, image_files, list_images
from pspnet_jax.errors import UserError
from tests.data.folders import below, touch


def test_images_of_all_folders_are_found_and_sorted(tmp_path):
  touch(tmp_path, 'b.PNG', 'city/c.jpg', 'a.tiff', 'city/deep/d.webp')
  names = ['a.tiff', 'b.PNG', 'city/c.jpg', 'city/deep/d.webp']
  assert below(tmp_path, image_files(tmp_path).found) == names


def test_what_is_no_image_is_kept_aside_by_kind(tmp_path):
  touch(tmp_path, 'a.jpg', 'b.heic', 'c.HEIC', 'notes', 'deep/film.mp4')
  found, left_aside = image_files(tmp_path)
  assert below(tmp_path, found) == ['a.jpg']
  assert counted(left_aside) == '2 .heic, 1 without extension, 1 .mp4'


def test_hidden_and_machine_files_and_folders_are_passed_over(tmp_path):
  touch(tmp_path, 'a.jpg', '.b.jpg', '._a.jpg', '.DS_Store', 'Thumbs.db', 'desktop.ini')
  for folder in ('.ipynb_checkpoints', '__MACOSX', '@eaDir', '.git', '$RECYCLE.BIN'):
    touch(tmp_path, f'{folder}/a.jpg', f'city/{folder}/a.jpg')
  assert below(tmp_path, image_files(tmp_path).found) == ['a.jpg']
  assert image_files(tmp_path).left_aside == {}
  touch(tmp_path, '.data/a.jpg')  # asked for by name, it is meant
  assert len(image_files(tmp_path / '.data').found) == 1


def test_links_are_followed_and_lead_in_no_circles(tmp_path):
  touch(tmp_path, 'elsewhere/deep/a.jpg', 'root/city/b.jpg')
  root = tmp_path / 'root'
  (root / 'linked').symlink_to(tmp_path / 'elsewhere')
  (root / 'file.jpg').symlink_to(tmp_path / 'elsewhere/deep/a.jpg')
  for name in ('up', 'again'):
    (root / 'city' / name).symlink_to(root)
    (tmp_path / 'elsewhere' / name).symlink_to(root / 'city')
  (root / 'a city of the same').symlink_to(root / 'city')  # sorted ahead of the real one
  (root / 'self').symlink_to(root / 'self')
  found, left_aside = image_files(root)
  assert below(root, found) == ['city/b.jpg', 'file.jpg', 'linked/deep/a.jpg']
  assert counted(left_aside) == '5 link to a folder of these, 1 without extension'


def test_pipes_and_devices_are_no_images(tmp_path):
  touch(tmp_path, 'a.png', 'folder.jpg/b.png')
  os.mkfifo(tmp_path / 'pipe.png')
  (tmp_path / 'zero.png').symlink_to('/dev/zero')
  (tmp_path / 'nothing.png').symlink_to(tmp_path / 'gone.png')  # reading it says what is wrong
  found, left_aside = image_files(tmp_path)
  assert below(tmp_path, found) == ['a.png', 'folder.jpg/b.png', 'nothing.png']
  assert counted(left_aside) == '2 pipe or device'
  with pytest.raises(UserError, match=r'pipe\.png is neither a file nor a folder: '):
    list_images(tmp_path / 'pipe.png')


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
  touch(tmp_path, 'a/b.jpg')

  def denied(path):
    raise PermissionError(13, 'Permission denied', str(path))

  monkeypatch.setattr(os, 'scandir', denied)
  with pytest.raises(UserError, match=r'cannot be listed \(Permission denied\): '):
    image_files(tmp_path)


def test_images_to_predict_are_a_file_or_those_of_a_folder(tmp_path):
  touch(tmp_path, 'images/b.jpg', 'images/a.png', 'images/c.txt', 'heic/a.heic')
  (tmp_path / 'void').mkdir()
  found, left_aside = list_images(tmp_path / 'images')
  assert [path.name for path in found] == ['a.png', 'b.jpg'] and counted(left_aside) == '1 .txt'
  assert list_images(found[0]).found == [found[0]]
  with pytest.raises(UserError, match='nowhere does not exist'):
    list_images(tmp_path / 'nowhere')
  with pytest.raises(UserError, match='void holds no image: supported are'):
    list_images(tmp_path / 'void')
  with pytest.raises(UserError, match=r'heic holds no image but 1 \.heic: supported'):
    list_images(tmp_path / 'heic')


def test_whatever_is_listed_can_be_read(tmp_path):
  formats = Image.registered_extensions()
  for suffix in IMAGE_SUFFIXES:
    path = tmp_path / f'a{suffix}'
    Image.new('RGB', (16, 8)).save(path, formats[suffix])
    assert read_image(path).shape == (8, 16, 3)
