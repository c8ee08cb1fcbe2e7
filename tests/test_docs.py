"""The documents: their site builds, and every command runs, parses, or is left out openly."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

import ml_collections
import numpy as np
import pytest
from PIL import Image

from pspnet_jax.config import files
from tests import documents, tiny
from tests.command_lines import Job, results
from tests.conftest import TINY
from tests.documents import Written

ROOT = str(tiny.ROOT)
# Placeholders, and what stands in for them where a command is parsed.
PLACEHOLDERS = (
  ('COMMAND', 'train --help'),
  ('--config=CONFIG', '--config=ade20k_pspnet50'),
  ('NAME_mmseg', 'loveda_mmseg'),
  ('--config=NAME', '--config=camvid'),
  ('--config=...', '--config=folder'),
  ('--dataset=NAME', '--dataset=ade20k'),
  ('--benchmark=NAME', '--benchmark=ade20k'),
  (' [WORD ...]', ' ade20k r50'),
  ('=HOST:', '=127.0.0.1:'),
  ('gs://BUCKET/', '/tmp/'),
  ('H,W', '473,473'),
  (',...', ''),
)
# What is not run and cannot be parsed here, and why.
LEFT_OUT = {
  'pip install pspnet_jax': 'of the package index, where it will be',
  'pip install --no-deps cityscapesscripts pyquaternion': 'fetches packages of others',
  'uv pip compile': 'asks a package index',
  '.venv/bin/pre-commit install': 'changes the repository; its hooks are those of `make lint`',
  'tensorboard --logdir': 'a program of others',
  'tfds build': 'a program of others, which downloads',
  'python3 -m venv ENV': "Python's own",
  'pspnet submit --workdir=table5-101,table5-152': 'names two rows; the command is above',
}
# Run by other tests: all of a page, or a command.
RUN_ELSEWHERE = {
  'docs/extending.md': 'tests/test_extending.py',
  **dict.fromkeys(
    (
      'pspnet train --config=context_scenes --workdir=/tmp/scenes',
      'pspnet evaluate --workdir=/tmp/scenes',
      'pspnet predict --workdir=/tmp/scenes --input=scene.png --output=/tmp/labelled',
    ),
    'tests/test_wheel.py',
  ),
}

SMALL = (
  *('--config.total_steps=1', '--config.batch_size=2', '--config.crop_size=33,49'),
  *('--config.log_every=1', '--config.pictures=1', '--config.eval.whole_images=True'),
  *('--config.model.depth=10', '--config.model.stem_channels=4,4,8', '--config.model.width=4'),
  *('--config.model.head_channels=8', '--config.model.aux_head=False', '--config.model.bins=1,2'),
)
# Run here, in this order, in a folder that stands in for /tmp: command, what its placeholders
# become, flags that make it small, and what is there afterwards.
EXECUTED = (
  ('pspnet zoo list ade20k', {}, (), ''),
  ('pspnet train --config=NAME --settings', {'NAME': 'camvid'}, (), ''),
  ('pspnet doctor --config=folder --config.data.root=PATH', {'PATH': 'data'}, (), ''),
  (
    'pspnet train --config=folder --workdir=/tmp/mine --config.data.root=PATH',
    {'PATH': 'data'},
    SMALL,
    'mine/checkpoints',
  ),
  ('pspnet evaluate --workdir=/tmp/mine', {}, (), 'mine/evaluation/scores.md'),
  (
    'pspnet predict --workdir=/tmp/mine --input=FILE_OR_FOLDER --output=DIR',
    {'FILE_OR_FOLDER': 'data/images/val', 'DIR': 'out'},
    (),
    'out/overlays/a.png',
  ),
)


def left_out(command: Written) -> str | None:
  return next((why for text, why in LEFT_OUT.items() if text in command.text), None)


def run_somewhere(command: Written) -> bool:
  text = re.sub(r' #.*', '', command.text)
  return text in {run[0] for run in EXECUTED} or bool({text, command.page} & RUN_ELSEWHERE.keys())


def replaced(text: str) -> str:
  for name, value in PLACEHOLDERS:
    text = text.replace(name, value)
  return text


def argv_of(text: str) -> list[str]:
  """The words after `pspnet`, with something in the place of placeholders and of brackets."""
  text = re.sub(r'[][|]', ' ', replaced(text))
  _, _, arguments = text.partition('pspnet_jax ' if ' -m pspnet_jax' in text else 'pspnet ')
  return Written('', arguments).words


def check_make(words: list[str]) -> None:
  makefile = (tiny.ROOT / 'Makefile').read_text().replace('$(VENV)', '.venv')
  for target in words[1:]:
    assert re.search(rf'^{re.escape(target)}\b.*:', makefile, re.MULTILINE), target


def check_pip(words: list[str]) -> None:
  setup = configparser.ConfigParser()
  setup.read(tiny.ROOT / 'setup.cfg')
  for word in words:
    for extra in re.findall(r'\.\[(\w+)\]', word):
      assert extra in setup['options.extras_require'], extra
  if '-c' in words:
    assert (tiny.ROOT / words[words.index('-c') + 1]).is_file()


def check_pytest(words: list[str]) -> None:
  for word in words[words.index('pytest') + 1 :]:
    assert not word.endswith('.py') or (tiny.ROOT / word).is_file(), word
  if '-m' in words[words.index('pytest') :]:
    marker = words[-1] if not words[-1].startswith('-') else words[words.index('pytest') + 2]
    assert marker.removeprefix('not ') in (tiny.ROOT / 'pyproject.toml').read_text(), marker


def check_module(words: list[str]) -> None:
  """`python -m benchmarks.NAME --flag=...` and `python FILE`: they exist, and so do the flags."""
  words = [word.strip('[]|') for word in words]
  at = next(i for i, word in enumerate(words) if re.fullmatch(r'(.*/)?python3?', word))
  module = words[at + 2].replace('.', '/') + '.py' if words[at + 1] == '-m' else words[at + 1]
  source = (tiny.ROOT / module).read_text()
  for word in words[at + 2 :]:
    if word.startswith('--'):
      flag = word.partition('=')[0]
      assert f"'{flag}'" in source or f"'{flag[2:]}'" in source, f'{module} knows no {word}'


CHECKS: tuple[tuple[str, Callable[[list[str]], None]], ...] = (
  (r'make ', check_make),
  (r'(\S*python3? -m )?pip install ', check_pip),
  (r'(\S*python3? -m )?pytest ', check_pytest),
  (r'([A-Z_]+=\S* )*\S*python3? ', check_module),
)


def test_every_command_is_run_or_checked_or_left_out_openly(capsys):
  executed, checked, aside, parsed = [], [], [], []
  for command in documents.commands():
    if left_out(command):
      aside.append(command)
    elif run_somewhere(command):
      executed.append(command)
    elif re.match(r'(\S*/)?pspnet |python -m pspnet_jax ', command.text):
      parsed.append(command)
    else:
      check = next((c for start, c in CHECKS if re.match(start, command.text)), None)
      assert check is not None, f'{command} is of no kind that is known here'
      check(command.words)
      checked.append(command)
  answers = results([Job(argv_of(command.text), ROOT) for command in parsed])
  wrong = [f'{c}\n  {said}' for c, (status, said) in zip(parsed, answers, strict=True) if status]
  assert not wrong, '\n'.join(wrong)
  total = len(executed) + len(checked) + len(parsed) + len(aside)
  with capsys.disabled():
    print(
      f'\n{total} commands in the documents: {len(executed)} executed, '
      f'{len(checked) + len(parsed)} checked, {len(aside)} left out'
    )
  assert total > 120 and len(aside) <= 12
  unused = {text for text in LEFT_OUT if not any(text in command.text for command in aside)}
  assert not unused, f'no document holds these any more: {unused}'


def test_what_is_run_stands_in_the_documents():
  written = {re.sub(r' #.*', '', command.text) for command in documents.commands()}
  assert {run[0] for run in EXECUTED} <= written
  assert RUN_ELSEWHERE.keys() <= written | {command.page for command in documents.commands()}
  for test in RUN_ELSEWHERE.values():
    assert (tiny.ROOT / test).is_file()


def test_every_setting_exists_and_takes_the_value():
  known = {*_keys(files.load('folder'))}
  texts: dict[str, str] = {}  # and the page each stands on
  for setting in documents.settings():
    key, equals, value = setting.text.removeprefix('--config.').partition('=')
    # Classes called `mine:` are those of docs/extending.md.
    if setting.page in RUN_ELSEWHERE or re.search(r'\bKEY\b|config\.K=|…|=mine:', setting.text):
      continue
    if equals and value:
      texts.setdefault(re.sub(r'=N$', '=2', replaced(setting.text)), setting.page)
    else:
      assert key in known, f'{setting.page}: there is no setting {key}'
  assert len(texts) > 70
  jobs = [Job(['train', '--workdir=w', *Written('', text).words], ROOT) for text in texts]
  answers = zip(texts.items(), results(jobs), strict=True)
  wrong = [f'{page}: {text}\n  {said}' for (text, page), (status, said) in answers if status]
  assert not wrong, '\n'.join(wrong)


def _keys(config: ml_collections.ConfigDict, prefix: str = '') -> list[str]:
  """The keys of all settings, and those of the groups that hold them."""
  found = []
  for name in config:
    found.append(prefix + name)
    if isinstance(config[name], ml_collections.ConfigDict):
      found += _keys(config[name], f'{prefix}{name}.')
  return found


def few_shot_states() -> dict[str, dict]:
  """A narrow base network under the names of semseg, BAM (before and after) and DIaM."""
  torch = pytest.importorskip('torch')
  from tests.weights import state_dicts

  torch.manual_seed(0)
  named = state_dicts.model(**TINY).state_dict()
  semseg = {name: x for name, x in named.items() if not name.startswith('aux')}
  encoder = {
    f'encoder.{name.removeprefix("layer")}': x
    for name, x in semseg.items()
    if name.startswith('layer')
  }

  def renamed(*pairs: tuple[str, str]) -> dict:
    found = {}
    for name, x in semseg.items():
      for pattern, theirs in pairs:
        name, changed = re.subn(f'^{pattern}', theirs, name)
        if changed:
          break
      found[name] = x
    return found

  return {
    'semseg': semseg,
    'bam': semseg | encoder,
    'bam_meta': renamed((r'ppm\.', 'learner_base.0.'), (r'cls\.', 'learner_base.1.'))
    | {'down_query.0.weight': torch.zeros(4, 24, 1, 1), 'cls_merge.weight': torch.ones(1, 2, 1, 1)},
    'diam': {
      f'module.{name}': x
      for name, x in renamed((r'cls\.4\.', 'classifier.'), (r'cls\.', 'bottleneck.')).items()
    },
  }


def test_few_shot_networks_are_read_by_their_names(tmp_path):
  torch = pytest.importorskip('torch')
  from pspnet_jax.weights import importing

  [block] = [x.text for x in documents.code() if x.page == 'docs/few_shot.md']
  page: dict = {}
  exec(block, page)
  converted = {}
  for name, state in few_shot_states().items():
    path = tmp_path / f'{name}.pth'
    torch.save({'epoch': 3, 'state_dict': state, 'optimizer': {'state': {}}}, path)
    if name in ('bam_meta', 'diam'):
      page['as_semseg'](path, path := tmp_path / f'{name}_renamed.pth')
    converted[name] = importing.convert([path])
  expected = converted.pop('semseg')
  for found in converted.values():
    assert found.params.keys() == expected.params.keys()
    for name, x in {**expected.params, **expected.batch_stats}.items():
      np.testing.assert_array_equal({**found.params, **found.batch_stats}[name], x)


def test_the_config_that_is_semsegs_is_a_config(tmp_path):
  [block] = [x.text for x in documents.code() if x.page == 'docs/coming_from.md']
  (tmp_path / 'theirs.py').write_text(block)
  ours = files.load('ade20k_pspnet50').to_dict()
  theirs = files.load(str(tmp_path / 'theirs.py')).to_dict()
  for part in ('optimizer', 'augment', 'model', 'eval', 'total_steps', 'crop_size', 'batch_size'):
    assert theirs[part] == ours[part], part


def test_every_block_of_code_is_run():
  run_by_name = {'docs/few_shot.md', 'docs/coming_from.md', *RUN_ELSEWHERE}
  run_by_name.add('docs/batch_predicting.md')  # test_batch_predict
  by_tests_of_exports = {'docs/deploying.md'}  # test_stablehlo and test_onnx_file
  assert {block.page for block in documents.code()} <= {*run_by_name, *by_tests_of_exports, *PAGES}


@pytest.mark.slow
def test_commands_and_code_run_as_they_stand(tmp_path):
  torch = pytest.importorskip('torch')
  rng = np.random.default_rng(0)
  for split in ('train', 'val'):
    for kind in ('images', 'labels'):
      (tmp_path / 'data' / kind / split).mkdir(parents=True)
    for name in 'ab':
      image = rng.integers(0, 256, (40, 60, 3), np.uint8)
      Image.fromarray(image).save(tmp_path / f'data/images/{split}/{name}.png')
      label = rng.integers(0, 3, (40, 60), np.uint8)
      Image.fromarray(label).save(tmp_path / f'data/labels/{split}/{name}.png')
  (tmp_path / 'data/classes.txt').write_text('road\nsky\ncar\n')
  torch.save({'state_dict': few_shot_states()['bam']}, tmp_path / 'best.pth')
  jobs = []
  for text, placeholders, flags, _ in EXECUTED:
    for name, value in {'/tmp/': f'{tmp_path}/', **placeholders}.items():
      text = text.replace(name, value)
    jobs.append(Job([*argv_of(text), *flags], str(tmp_path), run=True))
  for (text, _, _, there), (status, said) in zip(EXECUTED, results(jobs), strict=True):
    # The doctor finds faults in noise, as it should: it ends with 1 after its report.
    assert status == 0 or 'doctor' in text, f'{text}\n{said}'
    assert not there or (tmp_path / there).exists(), text

  blocks = dict.fromkeys(block.text for block in documents.code() if block.page in PAGES)
  code = re.sub("'DIR'|'/tmp/scenes'", "'/tmp/mine'", '\n'.join([NAMES, *blocks]))
  code = re.sub(r"(load_pretrained\()'[^']*'", r"\1'/tmp/best.pth'", code)
  result = subprocess.run(
    [sys.executable, '-c', code.replace("'/tmp/", f"'{tmp_path}/")],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    env=tiny.environment() | {'PYTHONPATH': ROOT},
    check=False,
  )
  assert result.returncode == 0, result.stderr


# Pages whose code runs one after the other with a small network, and what it takes for granted.
PAGES = (
  *('README.md', 'docs/package_index.md', 'docs/python.md', 'docs/tutorial.md'),
  *('docs/predicting.md', 'docs/sharing.md'),
)
NAMES = """
import numpy as np
from PIL import Image
array = np.zeros((40, 60, 3), np.uint8)
pil = Image.fromarray(array)
for name in ('street', 'a', 'monday', 'tuesday'):
  pil.save(f'{name}.jpg')
"""


def test_drawings_are_those_of_their_script(tmp_path):
  (tmp_path / 'images').mkdir()
  script = shutil.copy(tiny.ROOT / 'docs/draw_network.py', tmp_path)
  subprocess.run([sys.executable, script], check=True, capture_output=True)
  drawn = (tmp_path / 'images/network.svg').read_text()
  assert drawn == (tiny.ROOT / 'docs/images/network.svg').read_text()


def test_every_setting_of_the_table_has_a_meaning(monkeypatch):
  pytest.importorskip('sphinx')
  monkeypatch.syspath_prepend(str(tiny.ROOT / 'docs'))
  import site_pages

  table = site_pages.settings()
  assert len(table) > 90
  assert [key for key, (_, meaning) in table.items() if not meaning] == []


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_asks_no_other_host(tmp_path):
  pytest.importorskip('sphinx_book_theme')
  pytest.importorskip('myst_nb')
  checkout = tmp_path / 'checkout'
  for name in ('docs', 'notebooks', 'pspnet_jax', 'configs'):
    ignored = shutil.ignore_patterns('_build', '__pycache__')
    shutil.copytree(tiny.ROOT / name, checkout / name, ignore=ignored)
  for name in ('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md'):
    shutil.copy(tiny.ROOT / name, checkout)
  site = tmp_path / 'site'
  # The notebooks are run by test_notebooks; here they are shown as they are.
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q'),
      *('-D', 'nb_execution_mode=off', str(checkout / 'docs'), str(site)),
    ],
    capture_output=True,
    text=True,
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(checkout)},
    check=False,
  )
  assert result.returncode == 0, result.stderr
  pages = [page for page in site.rglob('*.html') if '_modules' not in page.parts]
  assert len(pages) > 30
  loads = re.compile(r'<(?:script|img|iframe|link)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"')
  for page in pages:
    text = page.read_text(encoding='utf-8')
    assert not loads.search(text), f'{page} loads {loads.search(text)}'
    assert str(tmp_path) not in text and str(tiny.ROOT) not in text, f'{page} names this machine'
    for image in re.findall(r'<img\b[^>]*>', text):
      assert re.search(r'alt="[^"]+"', image), f'{page}: {image} says nothing to who cannot see it'
