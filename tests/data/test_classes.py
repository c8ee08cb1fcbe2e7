"""What a class file says beside the names, and what follows from it for label files."""

import numpy as np
import pytest

from pspnet_jax.data.classes import Classes, read_classes, spec_and_table
from pspnet_jax.data.illegal_ids import holds_colours
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import UserError


def refusal(function, *arguments, **options):
  """The message, one sentence."""
  with pytest.raises(UserError) as caught:
    function(*arguments, **options)
  assert str(caught.value).endswith('.') and '. ' not in str(caught.value)
  return str(caught.value)


def read(tmp_path, text):
  (tmp_path / 'classes.txt').write_text(text, encoding='utf-8')
  return read_classes(tmp_path / 'classes.txt')


def legal(table):
  """What the table knows: {id or colour: class}."""
  return {int(i): int(table[i]) for i in np.flatnonzero(table >= 0)}


def test_names_alone(tmp_path):
  assert read(tmp_path, 'sky\n\ntraffic  light\nStraße  # wide\n') == Classes(
    ('sky', 'traffic light', 'Straße')
  )


def test_colours_and_how_label_files_count(tmp_path):
  text = '# ids\nignore: 11 12\nlabel_ids: 7 19+20\nsky 1 2 3\ntraffic light 4 5 255\nignore: 13'
  found = read(tmp_path, text)
  assert found == Classes(
    ('sky', 'traffic light'),
    (((1, 2, 3),), ((4, 5, 255),)),
    (11, 12, 13),
    label_ids=(7, (19, 20)),
  )
  assert found.palette == ((1, 2, 3), (4, 5, 255))
  assert read(tmp_path, 'label_offset: 1\na').label_offset == 1


def test_ids_beside_the_names_are_the_ids_of_label_files(tmp_path):
  assert read(tmp_path, 'Pixel Value, Class\n7, road\n8, sky').label_ids == (7, 8)
  assert read(tmp_path, '0: road\n1: sky').label_ids is None  # they simply count up
  assert 'keep one' in refusal(read, tmp_path, '7 road\n8 sky\nlabel_ids: 1 2')


@pytest.mark.parametrize(
  'text, named',
  [
    ('sky 1 2 3\nroad 4 5', 'classes.txt:2'),
    ('sky 1 2 300', 'classes.txt:1'),
    ('sky 1 2 3\nroad', 'classes.txt:2'),
    ('sky\nroad\nsky', 'classes.txt:3'),
    ('# a\n\nsky 1 2 3 4', 'classes.txt:3'),
    ('1 2 3', 'classes.txt:1'),
    ('sky\nignore: eleven', 'classes.txt:2'),
    ('sky\nignore:', 'classes.txt:2'),
    ('sky\nignored: 11', 'classes.txt:2: `ignored:` is no option'),
    ('sky\nignored: 11', 'write `ignore:` if'),
    ('sky\nroad: main', 'double quotes'),
    ('sky\nlabel_ids: 1 x', 'label_ids: 7 8+11'),
    ('sky\nlabel_ids: 1\nlabel_ids: 2', 'given twice'),
    ('sky\nlabel_offset: 1 2', 'takes one number'),
    ('sky\nlabels: coloured', 'write `labels: ids` or'),
    ('sky 1 2 3\nlabels: colours\nlabel_ids: 3', 'leaves no ids'),
    ('# nothing\n', 'lists no class'),
  ],
)
def test_bad_lines_are_located(tmp_path, text, named):
  assert named in refusal(read, tmp_path, text)


def test_a_file_that_is_not_there(tmp_path):
  assert 'No such file' in refusal(read_classes, tmp_path / 'nowhere.txt')


TWO = Classes(('sky', 'road'), (((1, 2, 3),), ((0, 0, 0), (9, 9, 9))), labels='colours')


def test_label_files_of_colours():
  spec, table = spec_and_table(TWO, ignore_ids=(0, 0, 1, (255, 255, 255)))
  assert spec.palette == ((1, 2, 3), (0, 0, 0)) and holds_colours(table)
  assert legal(table) == {0x010203: 0, 0: 1, 0x090909: 1, 1: 255, 0xFFFFFF: 255}


def test_labels_colours_in_a_class_file(tmp_path):
  text = 'sky #010203\nroad 0 0 0 + 9 9 9\nlabels: colours\n'
  assert read(tmp_path, text) == TWO
  _, table = spec_and_table(read(tmp_path, text + 'ignore: 0 0 1, #ffffff'))
  assert legal(table) == {0x010203: 0, 0: 1, 0x090909: 1, 1: 255, 0xFFFFFF: 255}
  lines = '# label:color_rgb:parts:actions\nsky:1,2,3::\nignore:9,9,9::\nlabels: colours\n'
  assert read(tmp_path, lines).names == ('sky', 'ignore')


def test_several_ids_of_one_class():
  classes = Classes(('sky', 'road'), label_ids=(7, (8, 11)))
  assert legal(spec_and_table(classes)[1]) == {7: 0, 8: 1, 11: 1, 255: IGNORE_LABEL}
  assert legal(spec_and_table(classes, label_ids=[[1], [0, 255]])[1]) == {1: 0, 0: 1, 255: 1}


def test_names_keep_colours_of_ones_own():
  spec, _ = spec_and_table(Classes(('sky', 'road')), palette=np.uint8([[1, 2, 3], [4, 5, 6]]))
  assert spec.palette == ((1, 2, 3), (4, 5, 6))
  assert spec_and_table(Classes(('sky', 'road')))[0].palette == default_palette(2)


IDS = Classes(('sky', 'road'))


@pytest.mark.parametrize(
  'classes, options, named',
  [
    (IDS, {'labels': 'colours'}, 'a colour for each class'),
    (TWO, {'label_ids': (1, 2)}, 'leaves no ids'),
    (TWO, {'label_offset': 1}, 'leaves no ids'),
    (TWO, {'ignore_ids': (1, 2)}, 'three numbers'),
    (TWO, {'ignore_ids': ((9, 9, 9),)}, '(9, 9, 9) stands for both road and ignore'),
    (TWO, {'ignore_ids': ((9, 9, 999),)}, 'is no colour'),
    (TWO, {'palette': ((1, 2, 3), (1, 2, 3))}, '(1, 2, 3) stands for both sky and road'),
    (TWO, {'palette': ((1, 2, 3), ((4, 4, 4), (4, 4, 4)))}, '(4, 4, 4)'),
    (TWO, {'labels': 'ids'}, "'road' has several colours"),
    (IDS, {'ignore_ids': ((9, 9, 9),)}, 'holds a colour'),
    (IDS, {'labels': 'colors'}, "'ids' or 'colours'"),
    (IDS, {'palette': ((1, 2, 3), (1, 2))}, 'palette'),
    (IDS, {'palette': ((1, 2, 3), ((1, 2, 3), (1, 2)))}, 'palette'),
    (IDS, {'label_ids': (1, 2, 3)}, '3 label_ids for 2 classes'),
    (IDS, {'label_ids': (1, 2), 'label_offset': 1}, 'contradict'),
    (IDS, {'label_ids': (1, (2, 1))}, 'id 1 is given twice'),
    (IDS, {'ignore_ids': (1,)}, '`label_ids: 0 2`'),
    (Classes(('road',)), {}, 'the only class'),
  ],
)
def test_what_contradicts_itself_is_named(classes, options, named):
  assert named in refusal(spec_and_table, classes, **options)
