"""What a weight file holds, read whole: for tests of the readers."""

from collections.abc import Mapping

from pspnet_jax.weights.foreign import reading
from pspnet_jax.weights.foreign.stored import StoredArray


def content_of(path):
  """The content of a file, its arrays read."""
  with reading.opened(path) as content:
    return values_of(content)


def values_of(content):
  if isinstance(content, Mapping):
    return {name: values_of(value) for name, value in content.items()}
  return content.read() if isinstance(content, StoredArray) and content.values else content
