"""The commands, settings and code that the documents hold, and where each stands."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

from tests import tiny

# CHANGELOG.md tells of what was.
PAGES = [
  *(tiny.ROOT / name for name in ('README.md', 'CONTRIBUTING.md')),
  *sorted((tiny.ROOT / 'docs').glob('*.md')),
  *sorted((tiny.ROOT / 'docs/design').glob('*.md')),
  *sorted((tiny.ROOT / 'docs/reference').glob('*.md')),
]
_PROGRAMS = 'pspnet|python3?|pip|make|uv|pre-commit|pytest|bash|tensorboard|tfds'
_PROGRAM = rf'(?:[A-Z_]+=\S* )*(?:\S*/)?(?:{_PROGRAMS})(?![\w./:])'
_NAMED = re.compile(r'pspnet [a-z]+|python -m')
_FENCE = re.compile(r'^```(\S*)\n(.*?)^```', re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Written:
  """A command line, a setting or a block of code, and the page it stands on."""

  page: str
  text: str

  def __str__(self) -> str:
    return f'{self.page}: {self.text}'

  @property
  def words(self) -> list[str]:
    return shlex.split(self.text, comments=True)


def _name(page: Path) -> str:
  return str(page.relative_to(tiny.ROOT))


def _joined(block: str) -> list[str]:
  """Lines of a block, those that end in a backslash with what follows them."""
  return [' '.join(line.split()) for line in re.sub(r'\\\n', ' ', block).splitlines()]


def _typed(text: str) -> list[str]:
  """The lines of blocks without a language, which is what one types; output is marked `text`."""
  lines = [line for kind, block in _FENCE.findall(text) if not kind for line in _joined(block)]
  text = re.sub(
    r'^(    )(?:ss|ms|test)( +pspnet)', r'\1\2', text, flags=re.MULTILINE
  )  # of reproducing
  rest = _FENCE.sub('', text)
  for block in re.findall(r'(?:^    .*\n?)+', rest, re.MULTILINE):
    lines += _joined(block)
  return lines


def _inline(text: str) -> list[str]:
  rest = re.sub(r'^    .*$', '', _FENCE.sub('', text), flags=re.MULTILINE)
  return [' '.join(code.split()) for code in re.findall(r'`([^`]+)`', rest)]


def commands() -> list[Written]:
  """Every command line of every page: those in blocks, and those in sentences with a flag or word.

  `pspnet train` in a sentence is a name, and no command.
  """
  found = []
  for page in PAGES:
    text = page.read_text(encoding='utf-8')
    lines = [*_typed(text), *(code for code in _inline(text) if not _NAMED.fullmatch(code))]
    found += [Written(_name(page), line) for line in lines if re.match(rf'{_PROGRAM} \S', line)]
  return found


def settings() -> list[Written]:
  """Every `--config.KEY=VALUE` that stands outside a command."""
  found = []
  for page in PAGES:
    text = page.read_text(encoding='utf-8')
    for line in (*_typed(text), *_inline(text)):
      if line.startswith('--config.'):
        found.append(Written(_name(page), re.split(r' (?!--)', line)[0]))
  # Tables of what others' settings are called here: the second column.
  page = tiny.ROOT / 'docs/coming_from.md'
  for cell in re.findall(r'^\|[^|]*\|([^|]*)\|', page.read_text(encoding='utf-8'), re.MULTILINE):
    keys = re.findall(r'`([a-z][^`]*)`', cell)
    found += [Written(_name(page), f'--config.{key}') for key in keys]
  return found


def code() -> list[Written]:
  """Every block of Python."""
  return [
    Written(_name(page), block)
    for page in PAGES
    for kind, block in _FENCE.findall(page.read_text(encoding='utf-8'))
    if kind == 'python'
  ]
