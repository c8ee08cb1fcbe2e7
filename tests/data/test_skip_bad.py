import logging

import numpy as np
import pytest

from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.skip_bad import SkipBadExamples
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError


class Numbers:
  """Images of their own index; some cannot be used."""

  spec = DatasetSpec(('a', 'b'), ((0, 0, 0), (1, 1, 1)))

  def __init__(self, length=20, bad=(3, 4, 11)):
    self.length, self.bad = length, bad

  def __len__(self):
    return self.length

  def __getitem__(self, index):
    if index in self.bad:
      raise UserError(f'{index}.png is empty: copy or download it again.')
    image = np.full((2, 2, 3), index, np.uint8)
    return {'image': image, 'label': image[..., 0], 'name': str(index)}


def batches(source, count, start_step=0, threads=2):
  stream = train_batches(
    source,
    transform=lambda example, rng: {'id': example['label'][0, 0]},
    batch_size=4,
    seed=5,
    start_step=start_step,
    threads=threads,
  )
  try:
    return [next(stream)['id'].tolist() for _ in range(count)]
  finally:
    stream.close()


def test_bad_examples_are_replaced_the_same_way_from_any_step_by_any_number_of_threads():
  expected = batches(SkipBadExamples(Numbers()), 12)
  assert not {3, 4, 11} & {i for batch in expected for i in batch}
  assert batches(SkipBadExamples(Numbers()), 12, threads=5) == expected
  assert batches(SkipBadExamples(Numbers()), 7, start_step=5, threads=0) == expected[5:]


def test_good_examples_stay_where_they_were():
  sound, tolerant = batches(Numbers(bad=()), 12), batches(SkipBadExamples(Numbers()), 12)
  ours, theirs = np.array(tolerant), np.array(sound)
  bad = np.isin(theirs, (3, 4, 11))
  assert bad.any() and (ours[~bad] == theirs[~bad]).all()


def test_each_is_counted_and_logged_once(caplog):
  source = SkipBadExamples(Numbers())
  with caplog.at_level(logging.WARNING):
    for index in (3, 3, 11, 0):
      source[index]
  assert source.replaced == 3 and {3, 11} <= set(source.bad) <= {3, 4, 11}
  messages = [record.getMessage() for record in caplog.records]
  assert len(messages) == len(source.bad)
  assert '(1 so far): 3.png is empty' in messages[0]


def test_neighbours_do_not_stand_in_for_a_bad_stretch():
  source = SkipBadExamples(Numbers(200, bad=range(50, 100)))
  stand_ins = {source[i]['name'] for i in range(50, 100)}
  assert len(stand_ins) > 25


def test_nothing_to_go_on_with():
  source = SkipBadExamples(Numbers(bad=range(20)))
  with pytest.raises(UserError, match=r'20 examples cannot be used.*7\.png is empty.*doctor'):
    source[7]


def test_defects_of_ours_are_raised():
  source = Numbers()
  source.__class__ = type('Broken', (Numbers,), {'__getitem__': lambda self, i: 1 / 0})
  with pytest.raises(ZeroDivisionError):
    SkipBadExamples(source)[0]
