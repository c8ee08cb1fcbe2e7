"""The syntaxes in which people and tools write tables of classes.

The first line says which of them a file has, and every other line has to follow:

    NAME [COLOUR [+ COLOUR ...]]    or `ID NAME ...` on every line
    - NAME ...                      YAML, or `ID: NAME ...`; a line `names:` may stand ahead
    NAME:R,G,B:PARTS:ACTIONS        CVAT's labelmap.txt, whose last two fields are left out
    NAME,R,G,B                      CSV with , or ; of names and colours, ids and names, or all of
                                    them; headings may stand ahead

A colour is three numbers or #RRGGBB. A `#` begins a comment at the beginning of a line and after a
space, unless six hex digits follow. A name that would read as something else stands in quotes.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pspnet_jax.errors import UserError

Colour = tuple[int, int, int]  # RGB, 0-255

_MOST_BYTES = 1 << 20  # 255 classes need a hundredth of that
_ONE_A_LINE = 'write one class name a line, in the order of their ids'
_JOINERS = '\u200c\u200d'  # unseen, but part of how Persian, Hindi and other names are written
_QUOTED = re.compile(r'(?:^|(?<=[\s,;:]))"[^"]*"')
_QUOTED_OR_COMMENT = re.compile(_QUOTED.pattern + r'|(?:^|(?<=\s))#\S*')
_QUOTED_NAME = re.compile(r'(["\'])(.*?)\1(?=\s|$)')
_HEX = re.compile(r'#[0-9a-fA-F]{6}')
_NEARLY_HEX = re.compile(r'#(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{8})')
_NUMBER = re.compile(r'[-+]?[0-9]+(?:\.[0-9]*)?')
_ID = re.compile(r'[0-9]{1,6}')
_CVAT = re.compile(r'[^:]+:[^:]*:[^:]*:[^:]*')
_YAML = re.compile(r'-\s+(?P<name>.+)|(?P<id>[0-9]+)\s*:\s+(?P<of_id>.+)')
_HEADINGS = {
  'name': ('name', 'names', 'class', 'classes', 'label', 'labels', 'category', 'class_name'),
  'id': ('id', 'index', 'value', 'pixel value', 'class_id', 'label_id'),
  'red': ('r', 'red'),
  'green': ('g', 'green'),
  'blue': ('b', 'blue'),
  'hex': ('hex', 'color', 'colour'),
}


class Line(NamedTuple):
  """A line that says something."""

  where: str  # FILE:NUMBER, for messages
  text: str  # without comment and the spaces around


class Row(NamedTuple):
  """What a line says of a class."""

  where: str
  name: str
  colours: tuple[Colour, ...] = ()
  id: int | None = None


def read_lines(path: str | Path) -> list[Line]:
  """The lines of a text file that hold more than a comment.

  Raises:
    UserError: if the file cannot be read, is not UTF-8, or has characters that nobody can see.
  """
  lines = []
  for number, text in enumerate(re.split(r'\r\n|\r|\n', _text(path)), 1):
    where = f'{path}:{number}'
    text = _without_comment(text, where)
    unseen = next(filter(_is_unseen, text), None)
    if unseen is not None:
      raise UserError(f'{where}: there is an invisible U+{ord(unseen):04X}, so remove it.')
    if text:
      lines.append(Line(where, text))
  return lines


def read_rows(lines: Sequence[Line]) -> list[Row]:
  """The classes that these lines list.

  Raises:
    UserError: naming the line that cannot be understood, or is of another syntax than the first.
  """
  if not lines:
    return []
  first = lines[0]
  if is_of_cvat(first.text):
    return [_of_cvat(line) for line in lines]
  if first.text == 'names:' or _YAML.fullmatch(first.text):
    return _of_yaml(lines[first.text == 'names:' :])
  if first.text.startswith('names:'):
    raise UserError(f'{first.where}: expected `names:` and below it lines of `- NAME`.')
  bare = _QUOTED.sub('', first.text)
  for delimiter in ',;':
    if delimiter in bare and not bare.startswith(('[', '{')):
      return _of_csv(lines, delimiter)
  return _of_words(lines)


def is_of_cvat(text: str) -> bool:
  """Whether a line is one of CVAT's labelmap.txt."""
  return _CVAT.fullmatch(text) is not None


def _text(path: str | Path) -> str:
  try:
    with Path(path).open('rb') as file:
      data = file.read(_MOST_BYTES + 1)
  except OSError as e:
    raise UserError(f'class file {path} cannot be read ({e.strerror}): {_ONE_A_LINE}.') from e
  if len(data) > _MOST_BYTES:
    raise UserError(f'class file {path} is larger than {_MOST_BYTES:,} bytes: {_ONE_A_LINE}.')
  if data.startswith((b'\xff\xfe', b'\xfe\xff')) or b'\0' in data:
    raise UserError(f'class file {path} cannot be read, being UTF-16 or no text: save it as UTF-8.')
  try:
    return data.decode('utf-8-sig')
  except UnicodeDecodeError as e:
    number = data[: e.start].count(b'\n') + 1
    raise UserError(f'{path}:{number}: this is not UTF-8: save the file as UTF-8.') from e


def _without_comment(text: str, where: str) -> str:
  for match in _QUOTED_OR_COMMENT.finditer(text):
    word = match.group()
    if word.startswith('"'):
      continue
    if _HEX.fullmatch(word) and text[: match.start()].strip():
      continue  # a colour
    if _HEX.fullmatch(word) or _NEARLY_HEX.fullmatch(word):
      raise UserError(
        f'{where}: {word} is a comment or a colour, so write colours as `NAME #RRGGBB`, and '
        'comments with a space after #.'
      )
    return text[: match.start()].strip()
  return text.strip()


def _is_unseen(character: str) -> bool:
  """Whether nobody would find this in a name; spaces of any kind become plain ones."""
  kind = unicodedata.category(character)
  return (kind[0] == 'C' or kind in ('Zl', 'Zp')) and character not in _JOINERS + '\t'


def _of_words(lines: Sequence[Line]) -> list[Row]:
  """Words with spaces between them."""
  words = [line.text.split() for line in lines]
  known = {heading for headings in _HEADINGS.values() for heading in headings}
  if all(word.lower() in known for word in words[0]):
    raise UserError(
      f'{lines[0].where}: {lines[0].text!r} looks like a heading: remove it, or put it in double '
      'quotes if it is a class.'
    )
  # Numbers ahead of names are ids where every line has one: `7 road` alone may be a name.
  if all(_ID.fullmatch(own[0]) and not all(map(_NUMBER.fullmatch, own)) for own in words):
    rows = [_of_line(Line(line.where, line.text.split(None, 1)[1])) for line in lines]
    return [row._replace(id=int(own[0])) for row, own in zip(rows, words, strict=True)]
  return [_of_line(line) for line in lines]


def _of_line(line: Line) -> Row:
  """`NAME [COLOUR [+ COLOUR ...]]`."""
  quoted = _QUOTED_NAME.match(line.text)
  words = (line.text[quoted.end() :] if quoted else line.text).split()
  colours: list[Colour] = []
  whole = True
  while length := _length_of_colour(words):
    if len(words) == length and not quoted:
      break
    colours.insert(0, _colour(words[-length:], line.where))
    del words[-length:]
    whole = words[-1:] != ['+']
    if whole:
      break
    words.pop()
  if quoted:
    name, clear = quoted.group(2), whole and not words
  else:
    name, clear = ' '.join(words), whole and bool(words)
    # A fourth number may belong to the name, or be an alpha value.
    clear = clear and not (colours and _NUMBER.fullmatch(words[-1]))
    clear = clear and (len(words) < 3 or not all(map(_NUMBER.fullmatch, words)))
    clear = clear and not set(',:;') & set(name) and name[0] not in '[{'
  if not clear:
    raise UserError(
      f'{line.where}: expected `NAME` or `NAME R G B` with 0-255, found {line.text!r}: put a name '
      'with , : ; or numbers that are no colour in double quotes.'
    )
  return _row(line, name, colours)


def _length_of_colour(words: Sequence[str]) -> int:
  """How many of the last words make up a colour: 1, 3 or 0."""
  if words and _HEX.fullmatch(words[-1]):
    return 1
  return 3 if len(words) >= 3 and all(map(_NUMBER.fullmatch, words[-3:])) else 0


def _of_yaml(lines: Sequence[Line]) -> list[Row]:
  """A list or a mapping from ids."""
  rows = []
  for line in lines:
    match = _YAML.fullmatch(line.text)
    if match is None:
      raise UserError(
        f'{line.where}: expected `- NAME` or `ID: NAME` as above, found {line.text!r}: keep '
        'nothing but the names.'
      )
    row = _of_line(Line(line.where, match['name'] or match['of_id']))
    rows.append(row._replace(id=_id(match['id'], line) if match['id'] else None))
  return rows


def _of_cvat(line: Line) -> Row:
  if not is_of_cvat(line.text):
    raise UserError(
      f'{line.where}: expected `NAME:R,G,B:PARTS:ACTIONS` as above, found {line.text!r}.'
    )
  name, colour, _, _ = line.text.split(':')
  return _row(line, name, [_colour(colour.split(','), line.where)] if colour.strip() else [])


def _of_csv(lines: Sequence[Line], delimiter: str) -> list[Row]:
  rows, columns = [], None
  for line in lines:
    try:
      fields = next(csv.reader([line.text], delimiter=delimiter, skipinitialspace=True))
    except csv.Error as e:
      raise UserError(f'{line.where}: this is no line of CSV ({e}): mend it.') from e
    fields = [field.strip() for field in fields]
    if columns is None:
      columns = _headings(fields) or _columns(fields)
      if _headings(fields):
        continue
    if columns is None or len(fields) != len(columns):
      raise UserError(
        f'{line.where}: expected `NAME{delimiter}R{delimiter}G{delimiter}B` or '
        f'`ID{delimiter}NAME`, all lines alike, found {line.text!r}: put a name with {delimiter} '
        'in double quotes.'
      )
    found = dict(zip(columns, fields, strict=True))
    colour = [found[key] for key in ('hex', 'red', 'green', 'blue') if key in found]
    row = _row(line, found['name'], [_colour(colour, line.where)] if colour else [])
    rows.append(row._replace(id=_id(found['id'], line) if 'id' in found else None))
  return rows


def _headings(fields: Sequence[str]) -> list[str] | None:
  """What the columns under these headings hold; None if they are none."""
  columns = [
    next((key for key, headings in _HEADINGS.items() if field.lower() in headings), '')
    for field in fields
  ]
  whole = sorted({'red', 'green', 'blue'} & set(columns)) in ([], ['blue', 'green', 'red'])
  return (
    columns if whole and 'name' in columns and len(set(columns) - {''}) == len(fields) else None
  )


def _columns(fields: Sequence[str]) -> list[str] | None:
  """What the columns hold that begin with these values; None if that cannot be told."""
  length = _length_of_colour(fields)
  of_colour = {0: [], 1: ['hex'], 3: ['red', 'green', 'blue']}[length]
  ahead = len(fields) - length
  if ahead == 2 and _ID.fullmatch(fields[0]):
    return ['id', 'name', *of_colour]
  return ['name', *of_colour] if ahead == 1 and length else None


def _row(line: Line, name: str, colours: Sequence[Colour]) -> Row:
  name = ' '.join(name.split())
  if not name:
    raise UserError(f'{line.where}: a class without a name: expected `NAME` or `NAME R G B`.')
  return Row(line.where, name, tuple(colours))


def _id(text: str, line: Line) -> int:
  if not _ID.fullmatch(text):
    raise UserError(f'{line.where}: the id {text!r} is no whole number of up to six digits.')
  return int(text)


def _colour(words: Sequence[str], where: str) -> Colour:
  """A colour from `#RRGGBB` or three numbers."""
  words = [word.strip() for word in words]
  if len(words) == 1 and _HEX.fullmatch(words[0]):
    number = int(words[0][1:], 16)
    return number >> 16, number >> 8 & 255, number & 255
  if len(words) != 3 or not all(_ID.fullmatch(word) and int(word) <= 255 for word in words):
    raise UserError(
      f'{where}: the colour {" ".join(words)!r} is none: give red, green and blue as whole numbers '
      'with 0-255, or #RRGGBB.'
    )
  red, green, blue = map(int, words)
  return red, green, blue
