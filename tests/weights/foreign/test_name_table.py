"""Names and layouts of other implementations, translated and translated back."""

import numpy as np
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign.name_table import NameTable, conv_bn, listed, shown

STEM = 'backbone/stem/convs/0'
ROWS = (
  *conv_bn(STEM, 'conv1', 'bn1'),
  *conv_bn('backbone/stage{s}/{b}/conv1', 'res{s+1}.{b}.conv', 'res{s+1}.{b}.bn'),
  *conv_bn('pyramid/reductions/{i}', 'ppm.{i}.conv', 'ppm.{i}.bn'),
  *conv_bn('bottleneck', 'cls.0', 'cls.1'),
)
TABLE = NameTable(ROWS)


def theirs(levels=(2, 3), features=4):
  """Arrays by their keys, all different."""
  rng = np.random.default_rng(0)
  shapes = {
    'conv1.weight': (6, 3, 3, 3),
    'bn1.running_var': (6,),
    'res2.0.conv.weight': (4, 6, 1, 1),
  }
  for i, width in enumerate(levels):
    shapes[f'ppm.{i}.conv.weight'] = (width, features, 1, 1)
  shapes['cls.0.weight'] = (5, features + sum(levels), 3, 3)
  return {key: rng.uniform(1, 2, shape).astype(np.float32) for key, shape in shapes.items()}


def test_names_are_translated_with_their_numbers():
  assert TABLE.ours('res2.0.conv.weight') == 'backbone/stage1/0/conv1/conv/kernel'
  assert TABLE.theirs('backbone/stage4/22/conv1/bn/mean') == 'res5.22.bn.running_mean'
  assert TABLE.ours('res2.0.conv.bias') == 'backbone/stage1/0/conv1/conv/bias'
  assert TABLE.ours('res2.x.conv.weight') is None and TABLE.ours('res2.0.convXweight') is None
  with pytest.raises(KeyError):
    TABLE.theirs('aux_head/conv/kernel')


@pytest.mark.parametrize('changes', [{}, {'levels_reversed': True}, {'bgr': True}])
def test_there_and_back_is_the_same_bits(changes):
  table, arrays = NameTable(ROWS, **changes), theirs()
  back = table.to_theirs(table.to_ours(arrays, 'file'))
  assert back.keys() == arrays.keys()
  for key, array in arrays.items():
    np.testing.assert_array_equal(back[key], array)


def test_kernels_turn_and_the_first_takes_red_first():
  arrays = theirs()
  kernel = arrays['conv1.weight'].transpose(2, 3, 1, 0)  # [k, k, I, O]
  np.testing.assert_array_equal(TABLE.to_ours(arrays, '')[f'{STEM}/conv/kernel'], kernel)
  turned = NameTable(ROWS, bgr=True).to_ours(arrays, '')[f'{STEM}/conv/kernel']
  np.testing.assert_array_equal(turned, kernel[:, :, ::-1])


@pytest.mark.parametrize('levels_reversed', [False, True])
def test_the_bottleneck_is_cut_where_its_source_joined_it(levels_reversed):
  arrays = theirs()
  ours = NameTable(ROWS, levels_reversed=levels_reversed).to_ours(arrays, '')
  whole = arrays['cls.0.weight'].transpose(2, 3, 1, 0)
  np.testing.assert_array_equal(ours['bottleneck/kernel'], whole[:, :, :4])
  first = slice(7, 9) if levels_reversed else slice(4, 6)  # level 0 has 2 channels, level 1 has 3
  np.testing.assert_array_equal(ours['bottleneck/level_kernels/0'], whole[:, :, first])


def test_counters_of_batch_normalisation_are_left_out():
  arrays = theirs() | {'bn1.num_batches_tracked': np.array(3)}
  assert TABLE.to_ours(arrays, '').keys() == TABLE.to_ours(theirs(), '').keys()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'fc.weight': np.ones((2, 2), np.float32)}, r'file: fc\.weight belong\(s\) to no layer'),
    ({'bn1.weight': np.ones(6, np.int8)}, r'file: bn1\.weight holds int8, not floats'),
    ({'bn1.weight': np.full(6, np.nan)}, r'bn1\.weight is not finite everywhere'),
    ({'bn1.weight': np.full(6, 1e300)}, r'bn1\.weight is not finite everywhere'),
    (
      {'bn1.running_var': np.array([1, -1e-9, -2])},
      r'running_var, a variance, is below zero in 2 of 3',
    ),
    ({'bn1.weight': np.ones(0, np.float32)}, r'bn1\.weight is empty, of shape \(0,\)'),
    ({'conv1.weight': np.ones((6, 0, 3, 3))}, r'conv1\.weight is empty'),
    ({'conv1.weight': np.ones((6, 3), np.float32)}, 'a convolution has four axes'),
    ({'bn1.weight': np.ones((2, 3), np.float32)}, 'one value a channel is needed'),
    ({'cls.0.weight': np.ones((5, 5, 3, 3))}, r'cls\.0\.weight takes 5 channels, too few'),
  ],
)
def test_arrays_that_do_not_fit_are_named(change, message):
  with pytest.raises(UserError, match=message):
    TABLE.to_ours(theirs() | change, 'file')


def test_zero_of_either_sign_and_tiny_variances_are_sound():
  array = np.array([-0.0, 0.0, 1e-45], np.float32)
  found = TABLE.to_ours(theirs() | {'bn1.running_var': array}, '')[f'{STEM}/bn/var']
  assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize(
  ('key', 'foreign'),
  [
    *(('fc.weight', True), ('queue', True), ('head.res2.0.conv.weight', True)),
    *(('res2.0.se.weight', False), ('res9.0.conv.weight', False), ('conv1.bias', False)),
  ],
)
def test_what_stands_beside_the_network_is_foreign_and_what_stands_in_it_is_not(key, foreign):
  assert TABLE.is_foreign(key) is foreign


def test_names_are_shown_in_one_line():
  assert shown('a\n\x1b[2J') == 'a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[2J'


def test_long_lists_are_counted():
  assert listed('ba') == 'a, b'
  assert listed('gfedcba') == 'a, b, c, d and 3 more'


def test_a_bias_ahead_of_a_normalisation_goes_into_its_mean():
  arrays = theirs() | {'conv1.bias': np.full(6, 0.25, np.float32)}
  arrays['bn1.running_mean'] = np.arange(6, dtype=np.float32)
  found = NameTable(ROWS, biased=True).to_ours(arrays, 'file')
  np.testing.assert_array_equal(found[f'{STEM}/bn/mean'], np.arange(6) - 0.25)
  assert f'{STEM}/conv/bias' not in found
  assert f'{STEM}/conv/bias' in TABLE.to_ours(arrays, 'file')  # which no network has
  arrays['conv1.bias'] = np.ones(5, np.float32)
  with pytest.raises(UserError, match=r'conv1\.bias has shape \(5,\) and bn1\.running_mean \(6,\)'):
    NameTable(ROWS, biased=True).to_ours(arrays, 'file')
  most = np.finfo(np.float32).max
  arrays |= {'conv1.bias': np.full(6, -most), 'bn1.running_mean': np.full(6, most)}
  with pytest.raises(UserError, match='not finite'):
    NameTable(ROWS, biased=True).to_ours(arrays, 'file')
