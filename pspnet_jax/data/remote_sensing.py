"""Classes of the aerial and satellite data sets: their names, in their order, and their colours.

They are those of mmsegmentation (mmseg/datasets/{loveda,potsdam,isprs,isaid}.py), which the zoo's
networks were trained with. iSAID's own names, in helpers/labels.py of its devkit, differ in one: it
says storage_tank.
"""

from __future__ import annotations

from pspnet_jax.data.spec import DatasetSpec

_LOVEDA = {
  'background': (255, 255, 255),
  'building': (255, 0, 0),
  'road': (255, 255, 0),
  'water': (0, 0, 255),
  'barren': (159, 129, 183),
  'forest': (0, 255, 0),
  'agricultural': (255, 195, 128),
}
_ISPRS = {
  'impervious_surface': (255, 255, 255),
  'building': (0, 0, 255),
  'low_vegetation': (0, 255, 255),
  'tree': (0, 255, 0),
  'car': (255, 255, 0),
  'clutter': (255, 0, 0),
}
_ISAID = {
  'background': (0, 0, 0),
  'ship': (0, 0, 63),
  'store_tank': (0, 63, 63),
  'baseball_diamond': (0, 63, 0),
  'tennis_court': (0, 63, 127),
  'basketball_court': (0, 63, 191),
  'Ground_Track_Field': (0, 63, 255),
  'Bridge': (0, 127, 63),
  'Large_Vehicle': (0, 127, 127),
  'Small_Vehicle': (0, 0, 127),
  'Helicopter': (0, 0, 191),
  'Swimming_pool': (0, 0, 255),
  'Roundabout': (0, 191, 127),
  'Soccer_ball_field': (0, 127, 191),
  'plane': (0, 127, 255),
  'Harbor': (0, 100, 155),
}

LOVEDA = DatasetSpec(tuple(_LOVEDA), tuple(_LOVEDA.values()))  # files hold 1-7, and 0 for no data
ISPRS = DatasetSpec(tuple(_ISPRS), tuple(_ISPRS.values()))  # of Potsdam and of Vaihingen
ISAID = DatasetSpec(tuple(_ISAID), tuple(_ISAID.values()))
