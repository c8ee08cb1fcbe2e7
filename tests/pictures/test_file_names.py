"""No two images have pictures of one name."""

from pathlib import Path

import pytest

from pspnet_jax.pictures.file_names import png_names


@pytest.mark.parametrize(
  ('images', 'pictures'),
  [
    (['street.jpg', 'deep/b.png', 'c'], ['street.png', 'deep/b.png', 'c.png']),
    (['street.jpg', 'street.png'], ['street.jpg.png', 'street.png.png']),
    (['A.jpg', 'a.jpg'], ['A.jpg.png', 'a.jpg-2.png']),
    (['caf\u00e9.jpg', 'cafe\u0301.png'], ['caf\u00e9.jpg.png', 'cafe\u0301.png.png']),
    # What another's suffix would have made of it.
    (['a.jpg', 'a.jpg.bmp', 'a.png'], ['a.jpg.png', 'a.jpg.bmp.png', 'a.png.png']),
    # A folder that is called as the picture would be.
    (['b.jpg', 'b.png/c.jpg'], ['b.jpg.png', 'b.png/c.png']),
    (['one/a.jpg', 'two/a.jpg', 'caf\udce9.jpg'], ['one/a.png', 'two/a.png', 'caf\udce9.png']),
  ],
)
def test_names_stay_apart(images, pictures):
  assert png_names(list(map(Path, images))) == list(map(Path, pictures))
