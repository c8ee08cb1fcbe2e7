"""What the doctor says of what was found: tables, sentences, JSON, and a page."""

import json

import numpy as np

from pspnet_jax.checkup import report
from pspnet_jax.checkup.diagnosis import Finding, Surveyed
from pspnet_jax.checkup.survey import Fault, Record
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError

SPEC = DatasetSpec(('sky', 'road'), ((9, 9, 200), (90, 9, 9)))


def record(index, counts, ignored=0, **more):
  name = f'image {index}'
  pixels = sum(counts) + ignored
  return Record(
    index, name, name, class_pixels=np.array(counts), ignored=ignored, pixels=pixels, **more
  )


TRAIN = Surveyed('train', SPEC, [record(0, [60, 20], ignored=20), record(1, [0, 100])])
VAL = Surveyed('val', SPEC, [record(0, [50, 0], ignored=50)])


def finding(i, kind='sizes differ', level='error', split='train'):
  return Finding(level, kind, split, f'image {i}', f'image {i} is wrong: mend it.')


def test_classes_have_their_share_of_pixels_and_their_images_in_each_split():
  columns, rows = report.class_table([TRAIN, VAL])
  assert columns[1:5] == ['train pixels %', 'train images', 'val pixels %', 'val images']
  assert rows[0][:5] == ['sky', 30.0, 1, 50.0, 1]
  assert rows[1][:5] == ['road', 60.0, 2, 0.0, 0]
  assert rows[2] == ['ignored', 10.0, 1, 50.0, 1, None]


def test_kinds_are_counted_by_split():
  found = [finding(0), finding(1), finding(0, 'duplicate', 'warning', 'train, val')]
  assert report.kind_table(found) == [
    ['error', 'sizes differ', 2, None],
    ['warning', 'duplicate', 1, 1],
  ]


def test_the_first_sentences_of_a_kind_are_said_and_the_rest_counted():
  lines = list(report.messages([finding(i) for i in range(5)]))
  assert lines[0] == 'error: image 0 is wrong: mend it.'
  assert len(lines) == 4 and lines[-1] == 'error: sizes differ: 2 more'


def test_the_verdict_depends_on_errors_alone():
  warning = finding(0, 'duplicate', 'warning')
  assert report.verdict([warning], 1234, '0:07').endswith(
    '0 error(s), 1 warning(s); ready to train.'
  )
  assert 'training would go wrong' in report.verdict([finding(0)], 3, '0:07')


def test_json_holds_all_of_it():
  values = json.loads(json.dumps(report.as_json([TRAIN, VAL], [finding(0)], 1.5)))
  assert values['sound'] is False and values['classes'] == ['sky', 'road']
  train = values['splits']['train']
  assert train['class_pixels'] == [60, 120] and train['ignored_share'] == 0.1
  assert train['images'][1]['class_pixels'] == {'1': 100}
  assert values['findings'][0]['kind'] == 'sizes differ'


class Source:
  """Examples of one grey; the second cannot be read."""

  spec = SPEC

  def __len__(self):
    return 2

  def __getitem__(self, index):
    if index == 1:
      raise UserError('example 1 is missing.')
    image, label = np.full((20, 30, 3), 130, np.uint8), np.zeros((20, 30), np.uint8)
    return {'image': image, 'label': label, 'name': f'image {index}'}


def test_the_page_shows_the_worst_and_some_that_are_sound():
  records = [record(0, [600, 0]), record(1, [0, 0])]
  records[1].faults.append(Fault('unusable example', 'image 1', 'example 1 is missing.'))
  split = Surveyed('train', SPEC, records)
  sound = report.page({'train': Source()}, [split], [])
  worst = report.page({'train': Source()}, [split], [finding(1)])
  assert worst.shape[0] > sound.shape[0] and worst.shape[1] == sound.shape[1]
  grey = (130, 130, 130)
  assert (sound == grey).all(-1).sum() > 1000  # the image, which is sound
