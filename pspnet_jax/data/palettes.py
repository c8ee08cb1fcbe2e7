"""Colours for the classes of a data set that has none of its own."""

from __future__ import annotations

Colour = tuple[int, int, int]  # RGB, 0-255

# The seven colours of Okabe and Ito (Color Universal Design, 2008) that are not black, and then
# always the colour of a grid that lies farthest from all before it, from black and from white, in
# CIELAB, as it looks to normal eyes and to those without one of the three cones (Machado, Oliveira
# and Fernandes 2009). tests/data/test_palettes.py computes them. In a larger palette all colours
# keep their places.
_TOLD_APART = (
  '0072b2 e69f00 d55e00 cc79a7 f0e442 009e73 56b4e9 8700f0 693c0f 00ff87 9678ff f0004b 870078 '
  '960f4b b4d2a5 2d3ca5 c3a54b 785a78 ffc3f0 4b783c c3b4b4 962dd2 4bd278 7896f0 f01ec3 964b00 '
  'e16978 96e15a 96f0d2 5a4b2d 69961e d21e87 3c4b4b f078d2 785aff 5a0fc3 694b96 f0c300 c3695a '
  '69f0ff 0000ff 965a69 6978a5 ff96d2 d22dd2 a5a55a d29696 7878e1 782d69 e1e1a5 69782d e196f0 '
  '78c387 c30fff c3f05a b4c33c a50f2d 69a5b4 0f3ce1 5ab496 96000f c369d2 7800a5 c33c2d 2db43c '
  'e178ff a50f96 69e169 00d2ff c3e1e1 ff693c 873c5a 694bb4 f0d278 87d2e1 ff9678 5a5ae1 5a8796 '
  'b4f0c3 a53c4b 78875a d2000f 87c35a 96b4c3 ff782d d2f01e 69690f a57887 f0b496 3c00e1 e14bff '
  '87695a ff3c87 007869 5a9696 96a569 004bc3 c3c3b4 87e187 ff69b4 784b78 b45aa5 871e3c e1b4ff '
  '875ab4 00e1c3 7869e1 8778c3 5aa50f 4b694b ffb44b b496d2 873c87 4b4b1e 785a1e c3d2b4 9600d2 '
  '2d5a5a 690fb4 878769 b4875a 4b5a69 d2873c 87c3e1 2d693c 4b3c87 5a2d96 4be100 b45a78 69ff69 '
  '5a7896 5a4ba5 2d874b 781e87 5ac378 4b8700 7878b4 2d4b78 87872d f0a5a5 a5694b 963c3c 8796e1 '
  '692db4 e196a5 5a00d2 f0e1b4 785a5a c3b44b 5a3cff 965a87 f0c3c3 d26969 3c4b69 969687 4b7878 '
  '87b487 a55ad2 d24b1e 96b469 c3c3f0 961e1e 7896a5 a596c3 874bc3 b400a5 3cc3a5 693cb4 69f096 '
  'd24bc3 d296ff d22d3c ff5a2d 96c300 693ce1 c378d2 0087f0 ff5ae1 f0b4c3 d20ff0 4bb4b4 69a54b '
  'ff00f0 96d25a 3cf078 2d78d2 b478b4 00d2d2 96d296 4bc3f0 a5e1d2 782dc3 5a5aa5 87e1ff 96874b '
  'e1e14b 96b4e1 0096e1 0078f0 b4d24b f03c96 a5d2d2 b4b496 e1e1f0 ff3c1e 005a3c 693c4b 4ba52d '
  '5ab45a 872d78 a5a5c3 f00087 96002d c3c387 b43c1e b4f087 2d5a96 872d5a 780fc3 789669 78d287 '
  'e1a5ff a51e87 787887 1effc3 3c4b96 b4e1b4 e1d23c b4b43c a5000f a5c3a5 7800d2 c3e196 875a96 '
  'a58778 d22db4 c3d269 5af000 e1875a b496a5 a578a5 d28778 b42dd2 9696ff a5e1f0 6900f0 3c87c3 '
  'd20069 a5964b 96f0a5 7800e1 e12de1 78e1e1 87693c 5a96b4'
)


def default_palette(num_classes: int) -> tuple[Colour, ...]:
  """Returns a colour for each class: none black or white, told apart by the colour-blind too.

  With as many classes as a label file holds, 255, they are close, but all different. Class i has
  the same colour however many classes there are.
  """
  colours = [bytes.fromhex(colour) for colour in _TOLD_APART.split()]
  return tuple((c[0], c[1], c[2]) for c in colours[:num_classes])


def voc_palette(num_classes: int) -> tuple[Colour, ...]:
  """Returns the colours of PASCAL VOC (VOCdevkit's VOClabelcolormap), whose first one is black.

  Bits 0, 3, 6, ... of the class id make the high bits of red, 1, 4, 7, ... those of green and
  2, 5, 8, ... those of blue.
  """

  def channel(index: int, first: int) -> int:
    return sum((index >> (first + 3 * i) & 1) << (7 - i) for i in range(8))

  return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(num_classes))
