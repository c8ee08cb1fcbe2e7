"""What the documentation's site takes from the code: the table of settings, the commands' help.

Two directives of Sphinx, `settings` and `commands`; `conf.py` lists this module.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from pspnet_jax.__main__ import COMMANDS
from pspnet_jax.config import defaults, overrides
from pspnet_jax.data.augment import Augment
from pspnet_jax.data.layout import Layout
from pspnet_jax.models.network import Network
from pspnet_jax.models.resnet import ResNet
from pspnet_jax.training import optim

ROOT = Path(__file__).resolve().parent.parent

# What stands ahead of a key in the source of `defaults`.
_PREFIXES = {'c': '', 'sampling': 'sampling.', 'evaluation': 'eval.'}
# Settings whose line says no more than its name.
_PLAIN = {
  'seed': 'of the initial network, the order of the images, augmentation and dropout',
  'total_steps': 'of the optimiser, a batch each; the schedule ends with them',
  'checkpoint_every': 'steps',
  'aux_weight': 'weight of the auxiliary head in the loss',
  'eval.flip': "whether an image's mirror image is averaged in",
  'eval.scales': 'sizes, relative to its own, at which an image is labelled; scores are averaged',
}
# A heading for each group, and what is said below it.
_GROUPS = {
  '': ('The run', ''),
  'data': (
    'Data',
    "`config.data`, here a folder's. `config.data.train` and `config.data.val` have the same keys, "
    'and what is set there is for that split alone.',
  ),
  'sampling': ('Which images are drawn', '`config.sampling`'),
  'augment': ('Augmentation', '`config.augment`'),
  'model': ('The network', '`config.model`'),
  'optimizer': (
    'The optimiser',
    '`config.optimizer`, here of SGD; `name=adamw` has others beside.',
  ),
  'loss': ('The loss', '`config.loss`'),
  'eval': ('Evaluation', '`config.eval`'),
}
_NAMES = {
  'data.name': "`folder`, a data set's name, or `package.module:Class` of one's own",
  'model.name': "`pspnet`, or `package.module:Class` of one's own",
  'optimizer.name': "`sgd`, `adamw`, or `package.module:function` of one's own",
  'loss.name': "`segmentation`, or `package.module:Class` of one's own",
  'data.train.split': 'what stands for `{split}`',
  'data.val.split': 'what stands for `{split}`',
}


def documented_arguments(documented: Any) -> dict[str, str]:
  """What a docstring says of each argument or attribute, by its name."""
  text = inspect.getdoc(documented) or ''
  found: dict[str, str] = {}
  for section in re.findall(r'^(?:Args|Attributes):\n((?:  .*\n?|\n)+)', text, re.MULTILINE):
    for names, meaning in re.findall(r'^  ([\w, *]+): ((?:.*\n?(?:    .*\n?)*))', section, re.M):
      for name in names.split(','):
        found[name.strip(' *')] = ' '.join(meaning.split())
  return found


def _comments() -> dict[str, str]:
  """What comments in the source of `defaults` say of each key: those above it, and beside it."""
  found: dict[str, str] = {}
  above: list[str] = []
  for line in inspect.getsource(defaults.defaults).splitlines():
    line = line.strip()
    if line.startswith('#'):
      above.append(line.lstrip('# '))
      continue
    if match := re.match(r'(\w+)\.([\w.]+)(?:, \w+\.(\w+))? = .*?(?:  # (.*))?$', line):
      prefix = _PREFIXES.get(match[1])
      said = ' '.join([*above, match[4] or '']).strip()
      if prefix is not None and said:
        found |= {prefix + name: said for name in match.group(2, 3) if name}
    above = []
  return found


def settings() -> dict[str, tuple[str, str]]:
  """Default and meaning of every setting, by its key; the meaning is '' where nobody says it."""
  config = defaults.defaults()
  sources: dict[str, Iterable[Callable[..., Any]]] = {
    'data': [Layout, defaults.chosen('data', config.data.name)],
    'augment': [Augment],
    'model': [ResNet, defaults.chosen('model', config.model.name), Network],
    'optimizer': [defaults.chosen('optimizer', config.optimizer.name), optim.learning_rate],
    'loss': [defaults.chosen('loss', config.loss.name)],
  }
  said = _comments() | _NAMES
  for group, documented in sources.items():
    for source in documented:
      for name, meaning in documented_arguments(source).items():
        said.setdefault(f'{group}.{name}', meaning)
  found = {}
  for flag in overrides.as_flags(config):
    key, _, default = flag.removeprefix('--config.').partition('=')
    key, not_set, _ = key.partition('  (')
    if key.startswith(('data.train.', 'data.val.')) and not key.endswith('.split'):
      continue
    meaning = said.get(key) or _PLAIN.get(key, '')
    found[key] = ('not set' if not_set else default.strip("'") or "''", meaning)
  return found


def settings_page() -> str:
  """The tables of all settings, in Markdown."""
  found = settings()
  lines: list[str] = []
  for group, (title, said) in _GROUPS.items():
    lines += ['', f'## {title}', '', said, '', '| setting | default | |', '|---|---|---|']
    for key, (default, meaning) in found.items():
      if key.partition('.')[0] == group if group else '.' not in key:
        shown = key.removeprefix(f'{group}.')
        meaning = meaning.replace('|', '\\|')
        default = default if default == 'not set' else f'`{default}`'
        lines.append(f'| `{shown}` | {default} | {meaning} |')
  return '\n'.join(lines)


def commands_page() -> str:
  """What `pspnet COMMAND --help` prints of every command, in Markdown."""
  sections = []
  for command in COMMANDS:
    program = [sys.executable, '-m', 'pspnet_jax', command, '--help']
    printed = subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    sections.append(f'## {command}\n\n```text\n{printed.strip()}\n```\n')
  return '\n'.join(sections)


class Settings(SphinxDirective):
  """The tables of all settings."""

  def run(self) -> list[nodes.Node]:
    return self.parse_text_to_nodes(settings_page(), allow_section_headings=True)


class Commands(SphinxDirective):
  """The help of every command, a section each."""

  def run(self) -> list[nodes.Node]:
    return self.parse_text_to_nodes(commands_page(), allow_section_headings=True)


def setup(app: Any) -> dict[str, Any]:
  """Tells Sphinx of the directives."""
  app.add_directive('settings', Settings)
  app.add_directive('commands', Commands)
  return {'parallel_read_safe': True, 'parallel_write_safe': True}
