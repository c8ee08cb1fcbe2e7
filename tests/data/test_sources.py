"""Sources by name, and those of one's own."""

import functools

import numpy as np
import pytest

from pspnet_jax.data.checked import Checked
from pspnet_jax.data.rare_classes import count_class_pixels
from pspnet_jax.data.skip_bad import SkipBadExamples
from pspnet_jax.data.sources import open_source
from pspnet_jax.data.spec import StoredLabels
from pspnet_jax.errors import BadData, UserError
from tests import own

open_own = functools.partial(open_source, 'mine:Source')


def test_sources_open_by_name():
  scenes = open_source('context_scenes', 'train', length=4)
  assert len(scenes) == 4
  assert scenes[0]['label'].dtype == np.uint8


@pytest.mark.parametrize(
  'name, options, named',
  [
    ('folders', {}, ["'folders'", 'context_scenes, folder']),
    ('folder', {'root': '.', 'ignore': 11}, ["'ignore'", 'ignore_ids']),
    ('folder', {}, ["'root'"]),
    ('folder', {'root': '.', 'label_ids': 2, 'label_offset': '1'}, ['data.label_offset', "'1'"]),
  ],
)
def test_unknown_sources_and_options_are_named(name, options, named):
  with pytest.raises(UserError) as caught:
    open_source(name, 'train', **options)
  for part in named:
    assert part in str(caught.value)


def test_a_source_of_ones_own_is_opened_with_its_options():
  source = open_own('train', own=own.Scenes, length=3)
  assert isinstance(source, Checked) and len(source) == 3
  example, plain = source[2], own.Scenes('train', length=3)[2]
  np.testing.assert_array_equal(example['image'], plain['image'])
  np.testing.assert_array_equal(example['label'], plain['label'])
  assert source.spec == own.Scenes('train').spec


def test_what_a_source_of_ones_own_left_out_is_known():
  class Noted(own.Scenes):
    notes = ('two files are set aside.',)

  assert open_own('train', own=Noted).notes == Noted.notes


def test_whatever_a_source_takes_is_handed_on():
  source = open_own('val', own=own.Keyed, anything=1)
  assert source._source.options == {'anything': 1}


def function(split, *, length=2):
  """A function will do as well."""
  return own.Scenes(split, length=length)


@pytest.mark.parametrize(
  ('opener', 'options', 'says'),
  [
    (own.Scenes, {'lenght': 3}, "unknown option 'lenght' of mine:Source: known are length, wrong"),
    (own.Files, {}, "data source mine:Source needs the option 'root': give it in the config"),
    (own.spoil, {}, 'data source mine:Source takes no split: give it an argument of that name'),
    (dict, {}, 'takes no split'),
    (own.NotASource, {}, 'gives a NotASource, which is no source: give it a length, examples by'),
    (lambda split: None, {}, 'gives a NoneType, which is no source'),
  ],
)
def test_what_is_no_source_is_refused(opener, options, says):
  with pytest.raises(UserError, match=says):
    open_own('train', own=opener, **options)


def test_a_function_opens_a_source_too():
  assert len(open_own('train', own=function, length=5)) == 5
  assert len(open_own('train', own=function, lenient=True)) == 2


@pytest.mark.parametrize(
  ('wrong', 'kind', 'says'),
  [
    ('a tuple', 'no example', 'example 1 is a tuple: give a dictionary of image, label and name'),
    ('no name', 'no example', 'example 1 is image, label: give'),
    ('float image', 'no uint8 image', r'the image of example 1 \(.+\) is float32 \[33, 49, 3\]'),
    ('grey image', 'no uint8 image', r'is uint8 \[33, 49\]: give a NumPy array, uint8 \[H, W, 3\]'),
    ('four channels', 'no uint8 image', r'is uint8 \[33, 49, 4\]'),
    ('a list', 'no uint8 image', r'is list \[\]'),
    ('wide label', 'no uint8 label', r'the label of example 1 .+ is int64 \[33, 49\]'),
    ('label with channel', 'no uint8 label', r'is uint8 \[33, 49, 1\]'),
    ('sizes', 'sizes differ', 'is 49x33 but its label 49x30'),
    (
      'no such class',
      'illegal ids',
      'holds the id 77, and there are 11 classes: give ids from 0 t',
    ),
  ],
)
def test_an_example_that_is_none_is_refused_and_can_be_skipped(wrong, kind, says):
  """Training, evaluation and the doctor would take it for something else without a word."""
  source = open_own('train', own=own.Scenes, length=4, wrong=wrong)
  source[0]
  with pytest.raises(BadData, match=says) as caught:
    source[1]
  assert caught.value.kind == kind
  tolerant = SkipBadExamples(source)
  assert tolerant[1]['name'] in {source[i]['name'] for i in (0, 2, 3)}
  assert set(tolerant.bad) == {1}


def test_ignored_pixels_and_the_last_class_are_legal():
  class Ends(own.Scenes):
    def __getitem__(self, index):
      example = super().__getitem__(index)
      label = np.full(example['label'].shape, 255, np.uint8)
      label[0, 0] = len(self.spec.class_names) - 1
      return example | {'label': label}

  assert open_own('train', own=Ends)[0]['label'][0, 0] == 10


def test_a_file_that_cannot_be_opened_is_a_bad_example():
  with pytest.raises(BadData, match=r'example 0 cannot be read \(FileNotFoundError: a\.png\)'):
    open_own('val', own=own.Keyed)[0]


def test_a_source_of_files_still_shows_what_they_hold(tmp_path):
  source = open_own('train', own=own.Files, root=tmp_path)
  assert isinstance(source, StoredLabels)
  assert not isinstance(open_own('train', own=own.Scenes), StoredLabels)


def test_rare_classes_are_counted_on_every_source():
  class WithLabel(own.Scenes):
    """Reads the label alone."""

    def label(self, index):
      return super().__getitem__(index)['label']

    def __getitem__(self, index):
      raise AssertionError('the image is not needed')

  expected = [
    np.bincount(own.Scenes('train')[i]['label'].ravel(), minlength=256)[:11] for i in range(3)
  ]
  for opener in (own.Scenes, WithLabel):
    counts = count_class_pixels(open_own('train', own=opener), range(3))
    np.testing.assert_array_equal(list(counts), expected)
