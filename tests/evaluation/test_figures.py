"""Figures as Markdown in percent, and as CSV with every digit."""

import csv
import io
import math
import re

from pspnet_jax.evaluation.figures import Figures, Table, as_csv, as_markdown
from tests import hostile

TABLE = Table('class', ('IoU', 'iIoU'), {'a, b': (1 / 3, math.nan), 'c': (0.5, 1.0)}, (5 / 12, 1.0))


def test_csv_keeps_every_digit():
  rows = list(csv.reader(io.StringIO(as_csv(Figures({'mean IoU': 5 / 12}, (TABLE,))))))
  assert rows[0] == ['kind', 'name', 'figure', 'value']
  assert ['summary', '', 'mean IoU', repr(5 / 12)] in rows
  assert ['class', 'a, b', 'IoU', repr(1 / 3)] in rows
  assert ['class', 'a, b', 'iIoU', ''] in rows
  assert ['class', 'mean', 'IoU', repr(5 / 12)] in rows


def test_markdown_is_a_table_in_percent():
  text = as_markdown(Figures({'mean IoU': 5 / 12}, (TABLE,)), 'Cityscapes')
  assert text.startswith('# Cityscapes\n\n| figure | % |\n| --- | ---: |\n| mean IoU | 41.67 |\n')
  assert '| class | IoU % | iIoU % |\n| --- | ---: | ---: |\n| a, b | 33.33 | - |\n' in text
  assert text.endswith('| mean | 41.67 | 100.00 |\n')


def test_names_are_text_in_markdown_and_spreadsheets():
  rows = dict.fromkeys(hostile.CLASSES, (0.5, 0.25))
  figures = Figures({'mean IoU': 0.5}, (Table('class', ('IoU', 'iIoU'), rows, (0.5, 0.25)),))
  text = as_markdown(figures, '\x1b[1m/tmp/x\n# y')
  assert hostile.is_harmless(text)
  for line in text.splitlines()[-len(rows) - 1 :]:
    assert len(re.findall(r'(?<!\\)\|', line)) == 4
  assert r'a\|b \<script\>' in text
  assert r'\[link\](http:&#8288;//x) \`code\` :&#8288;car: \[red\]' in text
  table = list(csv.reader(io.StringIO(as_csv(figures))))
  assert hostile.is_harmless(as_csv(figures)) and {len(row) for row in table} == {4}
  assert ['class', '\'=HYPERLINK("http://x")', 'IoU', '0.5'] in table
