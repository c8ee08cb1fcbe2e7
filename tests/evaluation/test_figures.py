"""Figures as Markdown in percent, and as CSV with every digit."""

import csv
import io
import math

from pspnet_jax.evaluation.figures import Figures, Table, as_csv, as_markdown

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
