"""Text that comes from elsewhere and must not act."""

import csv
import io

import pytest

from pspnet_jax.runtime.plain_text import (
  encodable,
  in_csv,
  in_lines,
  in_markdown,
  printable,
  printable_lines,
)


@pytest.mark.parametrize(
  ('text', 'shown'),
  [
    ('\x1b[2J\x1b]0;owned\x07', r'\x1b[2J\x1b]0;owned\x07'),
    ('\x9b31m', r'\x9b31m'),  # the same in one character
    ('two\nlines\r\tx', r'two\nlines\r\tx'),
    ('photo\u202egpj.exe', r'photo\u202egpj.exe'),
    ('a\u2028b\ufeff', r'a\u2028b\ufeff'),
    ('caf\udce9.jpg', r'caf\udce9.jpg'),  # a byte that is not UTF-8
    (':car: [red] a\\b', ':car: [red] a\\b'),
    (
      'Straße 東京\u3000é 🚗 👩\u200d🚀 می\u200cروم',
      'Straße 東京\u3000é 🚗 👩\u200d🚀 می\u200cروم',
    ),
  ],
)
def test_what_cannot_be_seen_is_shown_as_an_escape(text, shown):
  assert printable(text) == shown


def test_any_text_becomes_one_line_that_can_be_encoded():
  shown = printable(
    ''.join(map(chr, (*range(0x3000), *range(0xD7FF, 0xE010), *range(0xE0000, 0xE0100))))
  )
  assert shown == printable(shown)
  assert len(shown.splitlines()) <= 1
  assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
  assert encodable(shown, 'ascii').isascii() and shown.encode()


def test_line_ends_stay_where_they_are_meant():
  assert printable_lines('a\n\x1b[1mb\n') == 'a\n\\x1b[1mb\n'


@pytest.mark.parametrize(
  ('text', 'written'),
  [
    ('a|b', r'a\|b'),
    ('<script>x</script>', r'\<script\>x\</script\>'),
    ('[click](http://x) `code`', r'\[click\](http:&#8288;//x) \`code\`'),
    ('https://evil.example', 'https:&#8288;//evil.example'),
    ('www.evil.example WWW.x', 'www&#8288;.evil.example WWW&#8288;.x'),
    ('me@evil.example @someone', 'me@&#8288;evil.example @&#8288;someone'),
    ('$x^2$', r'\$x^2\$'),
    (':+1::tada: mine:Net: 3', ':&#8288;+1::&#8288;tada: mine:&#8288;Net: 3'),
    ('trick\\|', r'trick\\\|'),
    ('one\ntwo', r'one\\ntwo'),
    ('&lt;', r'\&lt;'),
    ('traffic_light _x_', r'traffic_light \_x\_'),
  ],
)
def test_markdown_shows_the_text(text, written):
  assert in_markdown(text) == written


@pytest.mark.parametrize(
  'text', ['=HYPERLINK("x")', '+1', '-1', '@SUM(A1)', ' =1', '\t=1', 'a,"b"']
)
def test_a_spreadsheet_computes_nothing(text):
  out = io.StringIO()
  csv.writer(out).writerow([in_csv(text)])
  [[cell]] = csv.reader([out.getvalue()])
  assert not cell.lstrip().startswith(('=', '+', '-', '@', '\t'))
  assert cell.removeprefix("'") == printable(text)


def test_sentences_are_broken_between_words_and_long_words_stay_whole():
  assert in_lines('a bc def /long/path-of/words g', 8) == 'a bc def\n/long/path-of/words\ng'
  assert in_lines('', 0) == '' and in_lines('ab c', 0) == 'ab\nc'
