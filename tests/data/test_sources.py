"""Data sources open by their names; what is unknown is named."""

import numpy as np
import pytest

from pspnet_jax.data import sources
from pspnet_jax.errors import UserError


def test_sources_open_by_name():
  scenes = sources.open_source('context_scenes', 'train', length=4)
  assert len(scenes) == 4
  assert scenes[0]['label'].dtype == np.uint8


@pytest.mark.parametrize(
  'name, options, named',
  [
    ('folders', {}, ["'folders'", 'context_scenes, folder']),
    ('folder', {'root': '.', 'ignore': 11}, ["'ignore'", 'ignore_ids']),
    ('folder', {}, ["'root'"]),
  ],
)
def test_unknown_sources_and_options_are_named(name, options, named):
  with pytest.raises(UserError) as caught:
    sources.open_source(name, 'train', **options)
  for part in named:
    assert part in str(caught.value)
