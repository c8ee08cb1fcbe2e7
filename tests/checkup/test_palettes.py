import numpy as np

from pspnet_jax.checkup.palettes import contradictions
from pspnet_jax.data.label_ids import label_table
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SPEC = DatasetSpec(('sky', 'road', 'car'), (RED, GREEN, BLUE))
TABLE = label_table(range(3))


def kinds(files, spec=SPEC, table=TABLE):
  return [(doubt.kind, doubt.file) for doubt in contradictions(files, spec, table)]


def test_equal_palettes_and_colours_of_no_class_are_sound():
  assert kinds({'a': {0: RED, 1: GREEN}, 'b': {1: GREEN, 2: BLUE}}) == []
  assert kinds({'a': {0: (1, 2, 3), 1: (4, 5, 6)}}) == []
  assert kinds({}) == []


def test_a_file_that_was_sorted_anew_is_named_with_one_that_was_not():
  files = {'a': {0: RED, 1: GREEN}, 'b': {0: RED, 1: BLUE}, 'c': {1: GREEN}}
  [doubt] = contradictions(files, SPEC, TABLE)
  assert (doubt.kind, doubt.file) == ('palettes differ', 'b')
  assert '0 0 255 for id 1, and a has 0 255 0' in doubt.message


def test_all_files_may_be_of_another_order_than_the_classes():
  files = {'a': {0: GREEN, 1: RED}, 'b': {0: GREEN}}
  assert kinds(files) == [('palette of another order', 'a'), ('palette of another order', 'b')]
  assert kinds(files, DatasetSpec(SPEC.class_names, default_palette(3))) == []  # nobody's choice
  assert kinds({'a': {1: RED, 2: GREEN}}, table=label_table(range(1, 4))) == []


def test_ids_of_no_class_are_left_alone():
  assert kinds({'a': {9: RED, 255: GREEN}}, table=label_table(range(3), ignore_ids=(9,))) == []
  assert kinds({'a': {70000: RED}}, table=np.full(65536, -1, np.int16)) == []
