"""The class file: what it says, and which of its lines cannot be understood."""

import pytest

from pspnet_jax.data.classes import Classes, read_classes
from pspnet_jax.errors import UserError


def refusal(path):
  """The message, one sentence."""
  with pytest.raises(UserError) as caught:
    read_classes(path)
  assert str(caught.value).endswith('.') and '. ' not in str(caught.value)
  return str(caught.value)


def read(tmp_path, text):
  (tmp_path / 'classes.txt').write_text(text, encoding='utf-8')
  return read_classes(tmp_path / 'classes.txt')


def test_names_alone(tmp_path):
  assert read(tmp_path, 'sky\n\ntraffic  light\nStraße  # wide\n') == Classes(
    ('sky', 'traffic light', 'Straße')
  )


def test_colours_and_how_label_files_count(tmp_path):
  text = '# ids\nignore: 11 12\nlabel_ids: 7 19\nsky 1 2 3\ntraffic light 4 5 255\n'
  assert read(tmp_path, text) == Classes(
    ('sky', 'traffic light'), ((1, 2, 3), (4, 5, 255)), (11, 12), label_ids=(7, 19)
  )
  assert read(tmp_path, 'label_offset: 1\na').label_offset == 1


def test_a_name_with_a_colon_is_a_name(tmp_path):
  assert read(tmp_path, 'road: main\n').names == ('road: main',)


@pytest.mark.parametrize(
  'text, line',
  [
    ('sky 1 2 3\nroad 4 5', 2),
    ('sky 1 2 300', 1),
    ('sky 1 2 3\nroad', 2),
    ('sky\nroad\nsky', 3),
    ('# a\n\nsky 1 2 3 4', 3),
    ('1 2 3', 1),
    ('sky\nignore: eleven', 2),
    ('sky\nignore:', 2),
  ],
)
def test_bad_lines_are_located(tmp_path, text, line):
  (tmp_path / 'classes.txt').write_text(text)
  assert f'classes.txt:{line}' in refusal(tmp_path / 'classes.txt')


def test_a_file_without_classes_or_none_at_all(tmp_path):
  (tmp_path / 'classes.txt').write_text('# nothing\n')
  assert 'lists no class' in refusal(tmp_path / 'classes.txt')
  assert 'cannot be read' in refusal(tmp_path / 'nowhere.txt')
  (tmp_path / 'classes.txt').write_bytes(b'\xff\xfe\x00')
  assert 'cannot be read' in refusal(tmp_path / 'classes.txt')
