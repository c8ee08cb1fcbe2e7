import numpy as np

from pspnet_jax.checkup.diagnosis import Surveyed, diagnose, median_frequency_weights
from pspnet_jax.checkup.survey import Fault, Record
from pspnet_jax.data.label_ids import label_table
from pspnet_jax.data.spec import DatasetSpec

SPEC = DatasetSpec(('a', 'b', 'c'), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))


def record(index, pixels, image='', label='', size=(10, 10), ignored=0):
  return Record(
    index,
    f'image {index}',
    f'label {index}',
    size=size,
    image_hash=image or f'hash {index}',
    label_hash=label or f'hash {index}',
    class_pixels=np.array(pixels),
    ignored=ignored,
    pixels=sum(pixels) + ignored,
  )


def kinds(*splits, crop_size=(5, 5)):
  return [(f.level, f.kind, f.split) for f in diagnose(splits, crop_size)]


def test_median_frequency_balancing_by_hand():
  train = Surveyed('train', SPEC, [record(0, [60, 40, 0], ignored=50), record(1, [100, 0, 0])])
  # a: 160 of 200; b: 40 of the 100 where it occurs; c: never; the median of .8 and .4 is .6.
  np.testing.assert_allclose(median_frequency_weights([train]), [0.75, 1.5, 0], rtol=1e-3)
  assert train.class_images.tolist() == [2, 1, 0] and train.class_pixels.tolist() == [160, 40, 0]
  assert train.ignored_share == 0.2


def test_splits_without_a_label():
  assert median_frequency_weights([Surveyed('train', SPEC, [])]) == [0, 0, 0]
  assert kinds(Surveyed('train', SPEC, []), Surveyed('val', SPEC, [])) == []


def test_duplicates():
  full = [1, 1, 1]
  train = Surveyed('train', SPEC, [record(0, full, 'x'), record(1, full, 'x', 'other')])
  [finding] = diagnose([train], (5, 5))
  assert (finding.level, finding.kind) == ('warning', 'duplicate')
  assert 'the same image with different labels occurs 2 times' in finding.message
  val = Surveyed('val', SPEC, [record(0, full, 'x')])
  assert kinds(train, val) == [('error', 'duplicate across splits', 'train, val')]


def test_almost_nothing_labelled():
  few = record(0, [1, 1, 1], ignored=400)
  half = record(1, [1, 1, 1], ignored=3)
  none = record(2, [0, 0, 0], ignored=10)
  assert kinds(Surveyed('train', SPEC, [few, half, none])) == [
    ('warning', 'almost nothing labelled', 'train'),
    ('warning', 'nothing labelled', 'train'),
  ]


def test_only_training_images_need_the_size_of_the_crop():
  small = [record(0, [1, 1, 1], size=(10, 4))]
  val = [record(1, [1, 1, 1], size=(10, 4))]
  found = kinds(Surveyed('train', SPEC, small), Surveyed('val', SPEC, val))
  assert found == [('warning', 'smaller than the crop', 'train')]


def test_labels_of_class_0_alone_or_of_no_class_are_errors():
  for pixels, ignored, named in (
    ([100, 0, 0], 0, 'another class than'),
    ([0, 0, 0], 100, 'are ignored'),
  ):
    survey = Surveyed('train', SPEC, [record(0, pixels, ignored=ignored)])
    messages = [f.message for f in diagnose([survey], (5, 5)) if f.kind == 'one class at most']
    assert len(messages) == 1 and named in messages[0]


def test_classes_are_not_called_absent_where_labels_were_misread():
  masks = record(0, [60, 0, 0], ignored=40)
  masks.ids = {0: 60, 255: 40}
  survey = Surveyed('train', SPEC, [masks], table=label_table(range(3)))
  assert kinds(survey) == [('error', 'masks of 0 and 255', 'train')]
  refused = Record(0, 'image 0', 'label 0', faults=[Fault('colour label', 'label 0', 'No ids.')])
  assert kinds(Surveyed('train', SPEC, [refused])) == [('error', 'colour label', 'train')]


def test_classes_that_no_picture_tells_apart_are_named():
  spec = DatasetSpec(('a', 'b', 'c'), ((0, 0, 0), (1, 1, 1), (0, 0, 0)))
  found = diagnose([Surveyed('train', spec, [])], (5, 5))
  [message] = [finding.message for finding in found if finding.kind == 'same colour']
  assert message.startswith('the classes a and c have the same colour (0, 0, 0)')
