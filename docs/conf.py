"""Sphinx's settings for the documentation's site: `make docs` builds it into docs/_build/html.

Nothing on the pages comes from another host: the site works from a disk without a network.
"""

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import pspnet_jax  # noqa: E402

project = 'pspnet_jax'
author = 'the authors of pspnet_jax'
copyright = 'the authors of pspnet_jax, Apache-2.0'
release = pspnet_jax.__version__
extensions = [
  'myst_nb',
  'site_pages',
  'sphinx.ext.autodoc',
  'sphinx.ext.napoleon',
  'sphinx.ext.viewcode',
  'sphinx_copybutton',
]
root_doc = 'index'
# Read on the package index, and notes for who builds this.
exclude_patterns = ['_build', 'package_index.md']

myst_heading_anchors = 3  # [text](page.md#heading), as in the repository
myst_links_external_new_tab = False

# The notebooks run when the site is built, each in a minute or two; what they drew is kept in
# docs/_build until they change. `-D nb_execution_mode=off` shows them without.
nb_execution_mode = 'cache'
nb_execution_cache_path = str(HERE / '_build' / 'notebooks')
nb_execution_timeout = 900  # seconds for a cell
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # there are none, and their scripts lie on another host

autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# What signatures name has to be on a page, but for what is JAX's, Flax' and so on, and for what
# only the package itself makes.
nitpicky = True
_ROOMS = 'checkup|inference.engine|reporting|training.stop_signals|weights.stored_step'
nitpick_ignore_regex = [
  ('py:.*', r'(?!pspnet_jax\.).*'),
  ('py:.*', rf'pspnet_jax\.({_ROOMS})\..*'),
  ('py:.*', r'pspnet_jax\..*\._\w+'),  # private names, such as a type variable
]

html_theme = 'sphinx_book_theme'
html_title = 'pspnet_jax'
html_static_path = ['_static']
html_css_files = ['site.css']
html_show_sphinx = False
html_last_updated_fmt = None
html_theme_options = {
  'use_download_button': False,
  'use_fullscreen_button': False,
  'show_toc_level': 2,
  'navbar_persistent': [],  # the search is in the sidebar
  'home_page_in_toc': True,
}


def _copy_notebooks() -> None:
  """Puts the notebooks among the pages: Sphinx reads nothing that lies elsewhere."""
  folder = HERE / 'notebooks'
  folder.mkdir(exist_ok=True)
  for path in (ROOT / 'notebooks').glob('*.ipynb'):
    target = folder / path.name
    if not target.exists() or target.read_bytes() != path.read_bytes():
      shutil.copyfile(path, target)


def _link_within(app, docname, source):
  """Leads links to a notebook, or from one, to the place that pages have in the site."""
  if docname.startswith('notebooks/'):
    source[0] = source[0].replace('](../docs/', '](../')
  else:
    up = '../' * docname.count('/')
    source[0] = source[0].replace(f']({up}../notebooks/', f']({up}notebooks/')


_MARKED = re.compile(r'^( *\*+\w+: )|`([^`]+)`|\*|(?<=\w)_(?!\w)', re.MULTILINE)


def _restructured(match):
  if match[1]:  # an argument's name, of which napoleon takes care
    return match[1]
  if not match[2]:
    return f'\\{match[0]}'
  after = match.string[match.end() : match.end() + 1]
  return f'``{match[2]}``' + ('\\ ' if re.match(r"[^\s.,:;!?)\]}'/-]", after) else '')


def _as_restructured_text(app, what, name, obj, options, lines):
  """Docstrings are written as Markdown is: `code`, and code blocks by their indentation."""
  blocks = re.split(r'\n\n+', '\n'.join(lines))
  indentations = [len(block) - len(block.lstrip()) for block in blocks]
  code_from = None  # the indentation of the code that is being passed
  for i, block in enumerate(blocks):
    if code_from is not None and indentations[i] >= code_from:
      continue
    code_from = None
    blocks[i] = _MARKED.sub(_restructured, block)
    last_line = block.splitlines()[-1] if block else ''
    own = len(last_line) - len(last_line.lstrip())
    if last_line.endswith(':') and i + 1 < len(blocks) and indentations[i + 1] >= own + 4:
      blocks[i] += ':'
      code_from = indentations[i + 1]
  lines[:] = '\n\n'.join(blocks).splitlines()


def setup(app):
  _copy_notebooks()
  app.connect('source-read', _link_within)
  app.connect('autodoc-process-docstring', _as_restructured_text, priority=400)  # ahead of napoleon
