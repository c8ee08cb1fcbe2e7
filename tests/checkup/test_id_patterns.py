"""What the ids of all label files give away together."""

import pytest

from pspnet_jax.checkup.id_patterns import recognise
from pspnet_jax.data.label_ids import colour_table, label_table


def patterns(files, class_ids, ignore_ids=()):
  """Label file -> the ids in it; (kind, whether everywhere, files) of what is found."""
  counted = {file: dict.fromkeys(ids, 10) for file, ids in files.items()}
  return recognise(counted, label_table(class_ids, ignore_ids))


def named(files, class_ids, ignore_ids=()):
  return [(p.kind, p.everywhere, p.files) for p in patterns(files, class_ids, ignore_ids)]


@pytest.mark.parametrize(
  'files',
  [
    {'a': [0, 1, 2], 'b': [1, 255]},
    {'a': [0]},
    {},
    {'a': [0, 255], 'b': [1, 255]},  # 255 is in use for what it is
  ],
)
def test_sound_labels_show_nothing(files):
  assert patterns(files, range(3)) == []


def test_masks_everywhere_and_here_and_there():
  masks = {'a': [0, 255], 'b': [0, 255]}
  assert named(masks, range(2)) == [('masks of 0 and 255', True, ['a', 'b'])]
  assert '`label_ids: 0 255`' in patterns(masks, range(2))[0].message()
  assert named({**masks, 'c': [0, 1]}, range(2)) == [('masks of 0 and 255', False, ['a', 'b'])]


def test_ids_from_one_are_an_offset_where_nothing_is_0():
  [pattern] = patterns({'a': [1, 2], 'b': [3]}, range(3))
  assert (pattern.kind, pattern.everywhere) == ('ids count from 1', True)
  assert pattern.message().endswith('--config.data.label_offset=1.')


def test_ids_from_one_with_a_void_0_ask_for_both():
  [pattern] = patterns({'a': [0, 1, 3], 'b': [2, 3]}, range(3))
  assert '`label_offset: 1` and `ignore: 0`' in pattern.message() and pattern.everywhere


def test_a_few_files_that_count_from_one_are_named_alone():
  files = {'odd': [1, 3], 'a': [0, 1], 'b': [0, 2], 'c': [0]}
  assert named(files, range(3)) == [('ids count from 1', False, ['odd'])]
  assert 'odd holds the unknown id 3 and no 0' in patterns(files, range(3))[0].message()


def test_a_background_that_nobody_listed():
  assert named({'a': [0, 1], 'b': [2]}, (1, 2)) == [('background 0', True, ['a'])]
  assert named({'a': [0, 1], 'b': [2]}, (1, 2), ignore_ids=(0,)) == []


def test_instances_are_told_from_other_large_numbers():
  [instances] = patterns({'a': [1001, 2002], 'b': [1]}, range(3))
  assert not instances.everywhere and 'divide them by 1000' in instances.message()
  [depths] = patterns({'a': [317, 2002]}, range(3))
  assert depths.everywhere and 'not instance numbers, depths or packed' in depths.message()


def test_the_sentence_counts_many_files_and_names_one():
  [pattern] = patterns({'a': [0, 1], 'b': [0, 2]}, (1, 2))
  assert pattern.message().startswith('2 labels hold id 0')
  assert pattern.message(['b']).startswith('b holds id 0')


def test_smoothed_edges_that_only_all_files_together_show():
  """Two ids between two frequent ones are few in each file, and many in all of them."""
  files = {f'{i}': {0: 500, 255: 400, 10 + 20 * i: 2, 20 + 20 * i: 3} for i in range(8)} | {
    'clean': {0: 5, 255: 5}
  }
  table = label_table((0, 255))
  [pattern] = recognise(files, table)
  assert (pattern.kind, pattern.everywhere) == ('smoothed labels', True)
  assert 'clean' not in pattern.files and len(pattern.files) == 8
  assert pattern.message().startswith('8 labels hold rare ids') and 'smoothing' in pattern.message()
  assert recognise({'a': {0: 500, 10: 400, 255: 1}}, label_table((0, 10, 20))) == []


def test_of_colours_no_id_is_suspected():
  """255 is a blue here, and 1 next to it: nothing is counted from anywhere."""
  table = colour_table([[(0, 0, 0)], [(0, 0, 255)]])
  assert recognise({'a': {0: 5, 255: 5}, 'b': {1: 9}}, table) == []
