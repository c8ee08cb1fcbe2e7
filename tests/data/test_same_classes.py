"""Names of classes that mean the same, and that do not."""

import pytest

from pspnet_jax.data.known_classes import COCO_STUFF, VOC2012, numbered_classes
from pspnet_jax.data.same_classes import alike, difference, in_other_words

ABC = ('sky', 'road', 'car')


@pytest.mark.parametrize(
  ('other', 'of_own', 'converted'),
  [
    (ABC, None, None),
    (('Sky', 'road', 'car'), None, None),
    (('sky', 'road'), 'the one knows 3 classes and the other 2', 'the one knows 3 classes and the'),
    (('sky', 'street', 'car'), 'class 1 of the one is road, of the other street', None),
    (('sky', 'car', 'road'), 'class 1 of the one is road, of', 'class 1 of the one is road, of'),
    # What is called otherwise does not hide what stands elsewhere, in either list.
    (('air', 'car', 'tree'), 'class 0 of', 'class 1 of the one is road, of the other car'),
    (('sky', 'tree', 'road'), 'class 1 of', 'class 1 of the one is road, of the other tree'),
    (('cat', 'dog', 'cow'), 'no class of the one is called as', 'no class of the one is called as'),
    (('class_0', 'class_1', 'class_2'), 'no class of the one is called as', None),
  ],
)
def test_what_names_may_differ(other, of_own, converted):
  for pair in ((ABC, other), (other, ABC)):
    for says, other_words in ((of_own, False), (converted, True)):
      found = difference(*pair, other_words=other_words)
      if says is None:
        assert found is None
      else:
        assert found is not None
        if pair[0] == ABC:
          assert found.startswith(says)


def test_other_words_are_told_with_their_ids():
  voc = VOC2012.class_names
  assert in_other_words(voc, voc, ('A', 'B')) is None
  assert in_other_words(('Traffic light', 'x'), ('traffic_light', 'X'), ('A', 'B')) is None
  words = {'aeroplane': 'airplane', 'tvmonitor': 'tv'}
  others = tuple(words.get(name, name) for name in voc)
  assert difference(voc, others, other_words=True) is None
  assert in_other_words(voc, others, ('A', 'the data')) == (
    'A and the data call 2 of 21 classes by other words, which are taken to mean the same: '
    '1 (aeroplane, airplane), 20 (tvmonitor, tv).'
  )
  stuff = COCO_STUFF.class_names
  many = in_other_words(stuff, [f'{name} again' for name in stuff], ('A', 'B'))
  assert '171 of 171' in many and many.endswith('4 (airplane, airplane again) and 166 more.')


def test_numbers_are_told_as_such():
  numbers = numbered_classes(3).class_names
  told = 'The classes of A have no names: they are taken for those of B, by id.'
  assert in_other_words(numbers, ABC, ('A', 'B')) == told
  assert in_other_words(ABC, numbers, ('B', 'A')) == told


def test_names_that_only_differ_in_their_signs_are_compared_as_they_stand():
  assert alike(('a b', 'C'), ('ab', 'c')) == (['ab', 'c'], ['ab', 'c'])
  assert alike(('a+', 'a-'), ('a-', 'a+')) == (['a+', 'a-'], ['a-', 'a+'])
