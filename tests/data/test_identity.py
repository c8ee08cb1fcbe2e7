"""A source is told from another, and from itself after its files have changed."""

import dataclasses
import os

import numpy as np

from pspnet_jax.data.checked import Checked
from pspnet_jax.data.folder import Folder
from pspnet_jax.data.identity import identity
from pspnet_jax.data.scenes import ContextScenes
from tests import planted


def test_the_same_files_are_the_same(tmp_path):
  planted.write_folder(tmp_path)
  assert identity(Folder(str(tmp_path))) == identity(Folder(str(tmp_path)))


def test_whatever_changes_is_seen(tmp_path):
  planted.write_folder(tmp_path)
  source = Folder(str(tmp_path))
  seen = [identity(source)]

  def changed(source):
    found = identity(source)
    assert found not in seen
    seen.append(found)

  image, label = source.files(0)
  os.utime(label, (1, 1))
  changed(source)
  image.write_bytes(image.read_bytes() + b'\0')
  changed(source)
  label.unlink()
  changed(source)
  # As many images of other names, other classes, another table.
  source.names[0] += 'x'
  changed(source)
  source.spec = dataclasses.replace(
    source.spec, class_names=tuple(reversed(source.spec.class_names))
  )
  changed(source)
  source.table = np.roll(source.table, 1)
  changed(source)


def test_copies_of_the_same_files_may_be_told_alike(tmp_path):
  for name in 'ab':
    planted.write_folder(tmp_path / name)
  a, b = (Folder(str(tmp_path / name)) for name in 'ab')
  assert identity(a) != identity(b)
  assert identity(a, with_files=False) == identity(b, with_files=False)


def test_a_source_without_files_has_a_length_and_classes():
  short, long = (ContextScenes('train', (33, 49), length=n) for n in (3, 4))
  assert identity(short) == identity(short) != identity(long)


def test_a_source_of_ones_own_is_what_its_code_and_its_files_are(tmp_path):
  source = ContextScenes('train', (33, 49), length=3)
  path = tmp_path / 'mine.csv'
  source.made_from = [path]
  seen = identity(Checked(source))
  path.write_text('a')
  assert identity(Checked(source)) != seen
  del source.made_from
  own = Checked(source)
  assert [os.path.basename(path) for path in own.made_from] == ['scenes.py']
