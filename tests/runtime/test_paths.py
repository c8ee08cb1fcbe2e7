"""Paths as people give them."""

from pathlib import Path

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import paths


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert paths.given('~/runs/a') == tmp_path / 'runs' / 'a'
  assert paths.given(Path('~')) == tmp_path
  assert paths.given('./~') == Path('./~') and paths.given('a/~b') == Path('a/~b')


@pytest.mark.parametrize(
  ('path', 'says'),
  [
    ('', 'is empty'),
    ('gs://bucket/x', 'is an address'),
    ('gs:/bucket/x', r'lacks a slash: write gs://bucket/x, or \./gs:/bucket/x'),
    (Path('hf://me/net'), 'lacks a slash: write hf://me/net'),
    ('~nobody-at-all/x', r'write \./~nobody'),
  ],
)
def test_what_is_no_path_here_is_refused(path, says):
  with pytest.raises(UserError, match=says):
    paths.given(path)
