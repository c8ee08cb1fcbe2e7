"""The syntaxes of class files: read as they are meant, or refused by what is wrong."""

import unicodedata

import pytest
from hypothesis import given

from pspnet_jax.data.class_files import read_lines, read_rows
from pspnet_jax.data.classes import read_classes, spec_and_table
from pspnet_jax.errors import UserError
from tests.mutations import ends_well, fuzz, mutated

NAMES = ('background', 'red', 'green', 'yellow')
COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
HEX = ('#000000', '#800000', '#008000', '#808000')


def lines(form):
  """A line for each of the four classes."""
  values = enumerate(zip(NAMES, COLOURS, HEX, strict=True))
  return ''.join(
    form.format(i=i, n=n, r=r, g=g, b=b, x=x) + '\n' for i, (n, (r, g, b), x) in values
  )


def rows(tmp_path, data):
  path = tmp_path / 'classes.txt'
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  return read_rows(read_lines(path))


def refusal(tmp_path, data):
  with pytest.raises(UserError) as caught:
    rows(tmp_path, data)
  message = str(caught.value)
  assert message.endswith('.') and '\n' not in message and 'classes.txt' in message
  return message


TABLES = {
  'words': lines('{n} {r} {g} {b}'),
  'tabs': lines('{n}\t{r}\t{g}\t{b}\t'),
  'comments': '#names\n\n' + lines('{n}   {r} {g} {b}   # a comment'),
  'hex': lines('{n} {x}'),
  'hex and comments': lines('{n} {x} # as on the web'),
  'quotes': lines('"{n}" {r} {g} {b}'),
  'ids ahead': lines('{i} {n} {r} {g} {b}'),
  'class_dict.csv': 'name,r,g,b\n' + lines('{n},{r},{g},{b}'),
  'csv without headings': lines('{n}, {r}, {g}, {b}'),
  'csv of other columns': 'id;R;G;B;Class\n' + lines('{i};{r};{g};{b};"{n}"'),
  'csv with hex': lines('{i},{n},{x}'),
  'CVAT': '# label:color_rgb:parts:actions\n' + lines('{n}:{r},{g},{b}::'),
  'CVAT with parts': lines('{n}:{r},{g},{b}:hand,head:sits'),
  'yaml and colours': lines('- {n} {r} {g} {b}'),
  'CRLF': lines('{n} {r} {g} {b}').replace('\n', '\r\n'),
  'CR': lines('{n} {r} {g} {b}').replace('\n', '\r'),
  'BOM': '\ufeff' + lines('{n} {r} {g} {b}'),
}
WITHOUT_COLOURS = {
  '_classes.csv': 'Pixel Value, Class\n' + lines('{i}, {n}'),
  'csv without headings': lines('{i},{n}'),
  'yaml': 'names:\n' + lines('  - {n}'),
  'yaml list': lines('- "{n}"'),
  'yaml of ids': 'names:\n' + lines("  {i}: '{n}'"),
  'ids ahead': lines('{i} {n}'),
  'CVAT without colours': lines('{n}:::'),
}


@pytest.mark.parametrize('kind', TABLES)
def test_tables_with_colours(tmp_path, kind):
  found = rows(tmp_path, TABLES[kind])
  assert tuple(row.name for row in found) == NAMES
  assert tuple(row.colours for row in found) == tuple((colour,) for colour in COLOURS)


@pytest.mark.parametrize('kind', WITHOUT_COLOURS)
def test_tables_without_colours(tmp_path, kind):
  found = rows(tmp_path, WITHOUT_COLOURS[kind])
  assert tuple(row.name for row in found) == NAMES and not any(row.colours for row in found)
  assert [row.id for row in found] in ([None] * 4, [0, 1, 2, 3])


@pytest.mark.parametrize(
  'text, name, colours',
  [
    ('lane 1', 'lane 1', ()),
    ('0', '0', ()),
    ('Grade 3', 'Grade 3', ()),
    ('7 road', '7 road', ()),
    ('C#', 'C#', ()),
    ('C# 1', 'C# 1', ()),
    ('lane 1 2 3', 'lane', ((1, 2, 3),)),
    ('"lane 1" 1 2 3', 'lane 1', ((1, 2, 3),)),
    ('"lane 1 2 3"', 'lane 1 2 3', ()),
    ('"road: main, # 1"  # a comment', 'road: main, # 1', ()),
    ('traffic\u00a0light 1 2 3', 'traffic light', ((1, 2, 3),)),
    ('road 1 2 3 + 4 5 6 + #070809', 'road', ((1, 2, 3), (4, 5, 6), (7, 8, 9))),
    ('salt + pepper', 'salt + pepper', ()),
    ("driver's seat", "driver's seat", ()),
    ('5" pipe # 5 inches', '5" pipe', ()),
  ],
)
def test_names(tmp_path, text, name, colours):
  other = 'other 9 9 9' if colours else 'other'
  first, _ = rows(tmp_path, f'{text}\n{other}')
  assert (first.name, first.colours) == (name, colours)


@pytest.mark.parametrize(
  'data, named',
  [
    ('name\nsky\nroad', 'heading'),
    ('name r g b\nsky 1 2 3', 'heading'),
    ('sky 1 2 3 4\nroad 1 2 3', ':1: expected `NAME`'),  # an alpha value, or a name with a number
    ('sky 1 2 300\nroad 1 2 3', "'1 2 300'"),
    ('sky 0.1 0.2 0.3\nroad 0 0 0', "'0.1 0.2 0.3'"),
    ('128 64 128\nroad 0 0 0', ':1: expected `NAME`'),
    ('#804080 road\nsky', '#804080 is a comment or a colour'),
    ('road #848\nsky #123', '#848 is a comment or a colour'),
    ('road + 1 2 3\nsky', ':1: expected `NAME`'),
    ('sky\nroad, street', ':2: expected `NAME`'),
    ('sky\nroad: main', ':2: expected `NAME`'),
    ('building, edifice\nsky', 'double quotes'),
    ('["sky", "road"]', ':1: expected `NAME`'),
    ('{"sky": [1, 2, 3]}', ':1: expected `NAME`'),
    ('names: [sky, road]', ':1: expected `names:`'),
    ('name,r,g\nsky,1,2', ':1: expected `NAME,R,G,B`'),
    ('nom,r,g,b\nsky,1,2,3', ':1: expected `NAME,R,G,B`'),
    ('name,r,g,b\nsky,1,2,3\nroad,1,2', ':3'),
    ('sky,1,2,3\nroad 1 2 3', ':2'),
    ('- sky\nroad', ':2: expected `- NAME`'),
    ('names:\n- sky\nnc: 2', ':3: expected `- NAME`'),
    ('sky:1,2,3::\nroad', ':2: expected `NAME:R,G,B:PARTS:ACTIONS`'),
    ('sky:1,2::\nroad:1,2,3::', "'1 2'"),
    (',1,2,3\nroad,1,2,3', ':1: a class without a name'),
    ('"" 1 2 3\nroad 1 2 3', 'without a name'),
    ('sky\nro\x1bad', 'U+001B'),
    ('sky\n\ufeffroad', 'U+FEFF'),
    ('sky\nroad\u200b', 'U+200B'),
    ('sky\nroad'.encode('utf-16'), 'UTF-16'),
    ('sky\nroad'.encode('utf-16-le'), 'UTF-16'),
    ('sky\nstra\xdfe'.encode('latin-1'), ':2: this is not UTF-8'),
    (b'sky\n' * (1 << 19), 'larger than'),
  ],
)
def test_what_cannot_be_understood_is_refused_by_its_cause(tmp_path, data, named):
  assert named in refusal(tmp_path, data)


def test_names_that_look_the_same_are_the_same(tmp_path):
  composed, decomposed = (
    unicodedata.normalize(form, 'Straße für Bäume') for form in ('NFC', 'NFD')
  )
  assert composed != decomposed
  (tmp_path / 'classes.txt').write_text(f'sky\n{decomposed}')
  spec, _ = spec_and_table(read_classes(tmp_path / 'classes.txt'))
  assert spec.class_names == ('sky', composed)


@fuzz
@given(
  mutated(
    [text.encode() for text in (*TABLES.values(), *WITHOUT_COLOURS.values())]
    + [b'ignore: 1 2\nlabels: colours\na #010203\nb 1 2 3 + 4 5 6\n', b'label_ids: 7 8+11\na\nb\n']
  )
)
def test_whatever_a_class_file_holds_is_read_or_refused(tmp_path_factory, data):
  path = tmp_path_factory.getbasetemp() / 'classes.txt'
  path.write_bytes(data)
  ends_well(lambda: spec_and_table(read_classes(path)))
