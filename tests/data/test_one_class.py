"""Labels that show one class alone are refused, and little is read of any others."""

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.folder import Folder
from pspnet_jax.data.label_ids import label_table
from pspnet_jax.data.one_class import refuse_one_class
from pspnet_jax.data.paired_files import PairedFiles
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import BadData, UserError

SPEC = DatasetSpec(('sky', 'road', 'car'), default_palette(3))


class Labels:
  """A source of labels without images; an error stands for a label that cannot be read."""

  def __init__(self, *labels):
    self.spec, self.labels, self.read = SPEC, labels, []

  def __len__(self):
    return len(self.labels)

  def __getitem__(self, index):
    self.read.append(index)
    if isinstance(self.labels[index], Exception):
      raise self.labels[index]
    return {'label': np.full((2, 2), self.labels[index], np.uint8)}


def refusal(source):
  with pytest.raises(UserError) as caught:
    refuse_one_class(source, 'train', threads=1)
  assert str(caught.value).endswith('.')
  return str(caught.value)


@pytest.mark.parametrize('only', [0, 2])
def test_one_class_alone_is_refused(only):
  source = Labels(*[only] * 20, 255)
  message = refusal(source)
  assert 'the train split' in message and repr(SPEC.class_names[only]) in message
  assert sorted(source.read) == list(range(21))


@pytest.mark.parametrize('labels', [[0] * 300 + [1], [255] * 400 + [0, 1] * 400, [255], []])
def test_two_classes_or_none_are_not(labels):
  refuse_one_class(Labels(*labels), 'val', threads=1)


def test_reading_ends_with_the_second_class_or_where_nothing_is_labelled():
  source = Labels(*[0, 1] * 5000)
  refuse_one_class(source, 'val', threads=1)
  assert len(source.read) <= 8
  source = Labels(*[255] * 5000)
  refuse_one_class(source, 'val', threads=1)
  assert len(source.read) < 300


def test_what_cannot_be_read_is_named_where_it_may_be_the_reason():
  bad = BadData('damaged file', 'b.png is damaged: mend it.')
  assert refusal(Labels(0, bad)) == str(bad)
  refuse_one_class(Labels(0, bad, 1), 'train', threads=1)
  refuse_one_class(Labels(bad), 'train', threads=1)


def test_a_method_label_spares_the_images():
  class OfLabels(Labels):
    def label(self, index):
      return np.full((2, 2), self.labels[index], np.uint8)

  source = OfLabels(0, 1)
  refuse_one_class(source, 'train')
  assert not source.read


@pytest.mark.parametrize('classes', [2, 3])
def test_masks_of_0_and_255_are_told_what_to_give(tmp_path, classes):
  path = tmp_path / 'a.png'
  Image.fromarray(np.uint8([[0, 255]])).save(path)
  spec = DatasetSpec(SPEC.class_names[:classes], SPEC.palette[:classes])
  message = refusal(PairedFiles(spec, label_table(range(classes)), [(path, path)]))
  assert str(path) in message and '`label_ids: 0 255`' in message
  assert '--config.data.label_ids=0,255' in message
  refuse_one_class(PairedFiles(SPEC, label_table((0, 255, 7)), [(path, path)]), 'train')


def test_a_folder_of_masks_opens_with_what_its_message_says(tmp_path):
  for kind in ('images', 'labels'):
    (tmp_path / kind).mkdir()
    Image.fromarray(np.uint8([[0, 255]])).save(tmp_path / kind / 'a.png')
  (tmp_path / 'classes.txt').write_text('ground\nroad\n')
  assert '`label_ids: 0 255`' in refusal(Folder(str(tmp_path), ''))
  (tmp_path / 'classes.txt').write_text('ground\nroad\nlabel_ids: 0 255\n')
  refuse_one_class(Folder(str(tmp_path), ''), 'train')
