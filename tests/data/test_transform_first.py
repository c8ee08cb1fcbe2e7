import functools

import numpy as np
import pytest

from pspnet_jax.data.augment import Augment
from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.data.transform_first import TransformFirst
from pspnet_jax.errors import UserError

CROP, CLASSES = (24, 32), 3
AUGMENT = Augment(CROP)


def example(seed=0, height=40, width=50):
  rng = np.random.default_rng(seed)
  return {
    'image': rng.integers(0, 256, (height, width, 3), np.uint8),
    'label': rng.choice(np.uint8([0, 1, 2, 255]), (height, width)),
    'name': f'street_{seed}',
  }


def flip_and_darken(given, rng):
  image, label = given['image'][:, ::-1], given['label'][:, ::-1]
  return {'image': image // np.uint8(rng.integers(1, 4)), 'label': label}


class CutOut:
  """Changes the arrays it is given."""

  def __call__(self, given, rng):
    top, left = rng.integers(given['label'].shape)
    given['image'][top:, left:], given['label'][top:, left:] = 0, 255
    return given


def returning(**changes):
  """A transform that returns the example with these keys changed."""

  def transform(given, rng):
    return {**given, **{key: change(given[key]) for key, change in changes.items()}}

  return transform


def call(transform, seed=0):
  return TransformFirst(transform, AUGMENT, CLASSES)(example(), np.random.default_rng(seed))


def test_the_augmentation_gets_what_the_transform_returns_and_the_rest_of_the_random_numbers():
  rng = np.random.default_rng(5)
  wanted = AUGMENT({**flip_and_darken(example(), rng), 'name': 'a'}, rng)
  found = call(flip_and_darken, 5)
  assert found['label'].shape == CROP
  for name in ('image', 'label'):
    np.testing.assert_array_equal(found[name], wanted[name])


def test_a_transform_that_does_nothing_changes_nothing():
  wanted = AUGMENT(example(), np.random.default_rng(5))
  found = call(lambda given, rng: given, 5)
  assert found.keys() == wanted.keys()
  for name in wanted:
    np.testing.assert_array_equal(found[name], wanted[name])


def test_a_transform_may_change_its_arrays_but_not_those_of_the_source():
  given = example()
  for array in (given['image'], given['label']):
    array.setflags(write=False)  # a source that keeps its images

  def erase(given, rng):
    given['label'][:] = 255
    given['image'] //= 2
    return given

  found = TransformFirst(erase, AUGMENT, CLASSES)(given, np.random.default_rng(0))
  np.testing.assert_array_equal(given['image'], example()['image'])
  np.testing.assert_array_equal(given['label'], example()['label'])
  assert (found['label'] == 255).all()


def test_a_transform_may_change_the_size():
  found = call(returning(image=lambda x: x[:10, :12], label=lambda x: x[:10, :12]))
  assert found['image'].shape == (*CROP, 3)


class Memory:
  """A source of eight images."""

  spec = DatasetSpec(('a', 'b', 'c'), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))

  def __len__(self):
    return 8

  def __getitem__(self, index):
    return example(index)


def test_batches_are_a_function_of_seed_and_step_whatever_the_threads():
  options = {'transform': TransformFirst(CutOut(), AUGMENT, CLASSES), 'batch_size': 3, 'seed': 1}
  batches = train_batches(Memory(), **options, threads=0)
  first = [next(batches) for _ in range(4)]
  batches = train_batches(Memory(), **options, threads=3, start_step=2)
  for wanted in first[2:]:
    found = next(batches)
    for name in wanted:
      np.testing.assert_array_equal(found[name], wanted[name])
  batches.close()


FLOAT = functools.partial(np.asarray, dtype=np.float32)


@pytest.mark.parametrize(
  ('transform', 'named'),
  [
    (lambda given, rng: None, "returned None for street_0: return a dict with 'image' and 'label'"),
    (lambda given, rng: (given['image'], given['label']), 'returned an object of type tuple'),
    (lambda given, rng: {'image': given['image']}, "returned a dict with 'image' for"),
    (returning(image=FLOAT), r'an image of float32 \[40, 50, 3\] .* return uint8 \[H, W, 3\]'),
    (returning(image=lambda x: x[..., :1]), r'an image of uint8 \[40, 50, 1\]'),
    (returning(image=lambda x: x[..., 0]), r'an image of uint8 \[40, 50\]'),
    (returning(image=lambda x: x[:0], label=lambda x: x[:0]), r'an image of uint8 \[0, 50, 3\]'),
    (returning(image=list), 'an image of an object of type list'),
    (returning(label=lambda x: x.astype(np.int64)), r'a label of int64 \[40, 50\]'),
    (returning(label=lambda x: x[..., None]), r'a label of uint8 \[40, 50, 1\]'),
    (returning(image=lambda x: x[:20]), r'an image of \(20, 50\) and a label of \(40, 50\) pixels'),
    (returning(label=lambda x: np.where(x == 2, np.uint8(3), x)), 'the label id 3 .* lie below 3'),
    (returning(label=lambda x: np.where(x == 255, np.uint8(254), x)), 'the label id 254'),
  ],
)
def test_what_a_transform_must_not_return_is_named(transform, named):
  with pytest.raises(UserError, match=named) as caught:
    call(transform)
  assert str(caught.value).startswith(f'{__name__}:')  # module:name of the transform


def test_a_transform_is_named_by_its_class_if_it_has_no_name():
  transform = functools.partial(lambda given, rng, what: what, what=3)
  with pytest.raises(UserError, match=r'^functools:partial returned an object of type int'):
    call(transform)


def test_what_a_transform_raises_is_its_own_with_a_note():
  def broken(given, rng):
    raise KeyError('oh')

  with pytest.raises(KeyError) as caught:
    call(broken)
  assert caught.value.__notes__ == [
    f'This was raised by {__name__}:{broken.__qualname__}, given street_0.'
  ]
