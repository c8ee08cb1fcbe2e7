"""Classes of the published data sets: their names, in their order, and their colours.

Sources: objectInfo150.txt and color150.mat of CSAILVision/sceneparsing; VOCdevkit; labels.py of
mcordts/cityscapesScripts; the SegNet tutorial's CamVid; labels.txt of nightrome/cocostuff; the
459 names of Pascal Context, of which these are the 59 of 59_labels.txt; config.json of Mapillary
Vistas v1.2, after mmsegmentation's mapillary.py.
"""

from __future__ import annotations

from typing import NamedTuple

from pspnet_jax.data.palettes import default_palette, voc_palette
from pspnet_jax.data.spec import DatasetSpec


class CityscapesLabel(NamedTuple):
  """A row of the table in cityscapesScripts, in its order and with its fields."""

  name: str
  id: int  # what label files and submissions hold
  train_id: int  # 0-18 for the classes that are evaluated, -1 for license plate, else 255
  category: str
  category_id: int
  has_instances: bool
  ignore_in_eval: bool
  colour: tuple[int, int, int]  # RGB, 0-255


# Category -> NAME COLOUR of its labels in the order of their ids, which count from 0; a star marks
# what is evaluated.
_CITYSCAPES = {
  'void': 'unlabeled 000000, ego vehicle 000000, rectification border 000000, out of roi 000000, '
  'static 000000, dynamic 6f4a00, ground 510051',
  'flat': 'road* 804080, sidewalk* f423e8, parking faaaa0, rail track e6968c',
  'construction': 'building* 464646, wall* 66669c, fence* be9999, guard rail b4a5b4, '
  'bridge 966464, tunnel 96785a',
  'object': 'pole* 999999, polegroup 999999, traffic light* faaa1e, traffic sign* dcdc00',
  'nature': 'vegetation* 6b8e23, terrain* 98fb98',
  'sky': 'sky* 4682b4',
  'human': 'person* dc143c, rider* ff0000',
  'vehicle': 'car* 00008e, truck* 000046, bus* 003c64, caravan 00005a, trailer 00006e, '
  'train* 005064, motorcycle* 0000e6, bicycle* 770b20',
}
_ADE20K = (
  'wall 787878, building b47878, sky 06e6e6, floor 503232, tree 04c803, ceiling 787850, road '
  '8c8c8c, bed cc05ff, windowpane e6e6e6, grass 04fa07, cabinet e005ff, sidewalk ebff07, person '
  '96053d, earth 787846, door 08ff33, table ff0652, mountain 8fff8c, plant ccff04, curtain '
  'ff3307, chair cc4603, car 0066c8, water 3de6fa, painting ff0633, sofa 0b66ff, shelf ff0747, '
  'house ff09e0, sea 0907e6, mirror dcdcdc, rug ff095c, field 7009ff, armchair 08ffd6, seat '
  '07ffe0, fence ffb806, desk 0aff47, rock ff290a, wardrobe 07ffff, lamp e0ff08, bathtub 6608ff, '
  'railing ff3d06, cushion ffc207, base ff7a08, box 00ff14, column ff0829, signboard ff0599, '
  'chest of drawers 0633ff, counter eb0cff, sand a09614, sink 00a3ff, skyscraper 8c8c8c, '
  'fireplace fa0a0f, refrigerator 14ff00, grandstand 1fff00, path ff1f00, stairs ffe000, runway '
  '99ff00, case 0000ff, pool table ff4700, pillow 00ebff, screen door 00adff, stairway 1f00ff, '
  'river 0bc8c8, bridge ff5200, bookcase 00fff5, blind 003dff, coffee table 00ff70, toilet '
  '00ff85, flower ff0000, book ffa300, hill ff6600, bench c2ff00, countertop 008fff, stove '
  '33ff00, palm 0052ff, kitchen island 00ff29, computer 00ffad, swivel chair 0a00ff, boat adff00, '
  'bar 00ff99, arcade machine ff5c00, hovel ff00ff, bus ff00f5, towel ff0066, light ffad00, truck '
  'ff0014, tower ffb8b8, chandelier 001fff, awning 00ff3d, streetlight 0047ff, booth ff00cc, '
  'television receiver 00ffc2, airplane 00ff52, dirt track 000aff, apparel 0070ff, pole 3300ff, '
  'land 00c2ff, bannister 007aff, escalator 00ffa3, ottoman ff9900, bottle 00ff0a, buffet ff7000, '
  'poster 8fff00, stage 5200ff, van a3ff00, ship ffeb00, fountain 08b8aa, conveyer belt 8500ff, '
  'canopy 00ff5c, washer b800ff, plaything ff001f, swimming pool 00b8ff, stool 00d6ff, barrel '
  'ff0070, basket 5cff00, waterfall 00e0ff, tent 70e0ff, bag 46b8a0, minibike a300ff, cradle '
  '9900ff, oven 47ff00, ball ff00a3, food ffcc00, step ff008f, tank 00ffeb, trade name 85ff00, '
  'microwave ff00eb, pot f500ff, animal ff007a, bicycle fff500, lake 0abed4, dishwasher d6ff00, '
  'screen 00ccff, blanket 1400ff, sculpture ffff00, hood 0099ff, sconce 0029ff, vase 00ffcc, '
  'traffic light 2900ff, tray 29ff00, ashcan ad00ff, fan 00f5ff, pier 4700ff, crt screen 7a00ff, '
  'plate 00ffb8, monitor 005cff, bulletin board b8ff00, shower 0085ff, radiator ffd600, glass '
  '19c2c2, clock 66ff00, flag 5c00ff'
)
_VOC2012 = (
  'background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse '
  'motorbike person pottedplant sheep sofa train tvmonitor'
)
_CAMVID = (
  'Sky 808080, Building 800000, Pole c0c080, Road 804080, Pavement 0000c0, Tree 808000, '
  'SignSymbol c08080, Fence 404080, Car 400080, Pedestrian 404000, Bicyclist 0080c0'
)
_COCO_STUFF = (
  'person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire '
  'hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, '
  'zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports '
  'ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine '
  'glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot '
  'dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, '
  'mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, '
  'clock, vase, scissors, teddy bear, hair drier, toothbrush, banner, blanket, branch, bridge, '
  'building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other, ceiling-tile, cloth, '
  'clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, '
  'floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, '
  'fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal, '
  'mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other, '
  'plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, '
  'sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, '
  'structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, '
  'wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, '
  'waterdrops, window-blind, window-other, wood'
)
_PASCAL_CONTEXT = (
  'aeroplane bag bed bedclothes bench bicycle bird boat book bottle building bus cabinet car cat '
  'ceiling chair cloth computer cow cup curtain dog door fence floor flower food grass ground '
  'horse keyboard light motorbike mountain mouse person plate platform pottedplant road rock '
  'sheep shelves sidewalk sign sky snow sofa table track train tree truck tvmonitor wall water '
  'window wood'
)
_MAPILLARY = (
  'Bird a52a2a, Ground Animal 00c000, Curb c4c4c4, Fence be9999, Guard Rail b4a5b4, Barrier '
  '5a7896, Wall 66669c, Bike Lane 8040ff, Crosswalk - Plain 8c8cc8, Curb Cut aaaaaa, Parking '
  'faaaa0, Pedestrian Area 606060, Rail Track e6968c, Road 804080, Service Lane 6e6e6e, Sidewalk '
  'f423e8, Bridge 966464, Building 464646, Tunnel 96785a, Person dc143c, Bicyclist ff0000, '
  'Motorcyclist ff0064, Other Rider ff00c8, Lane Marking - Crosswalk c88080, Lane Marking - '
  'General ffffff, Mountain 40aa40, Sand e6a032, Sky 4682b4, Snow beffff, Terrain 98fb98, '
  'Vegetation 6b8e23, Water 00aa1e, Banner ffff80, Bench fa001e, Bike Rack 648cb4, Billboard '
  'dcdcdc, Catch Basin dc8080, CCTV Camera de2828, Fire Hydrant 64aa1e, Junction Box 282828, '
  'Mailbox 212121, Manhole 6480a0, Phone Booth 8e0000, Pothole 466496, Street Light d2aa64, Pole '
  '999999, Traffic Sign Frame 808080, Utility Pole 000050, Traffic Light faaa1e, Traffic Sign '
  '(Back) c0c0c0, Traffic Sign (Front) dcdc00, Trash Can 8c8c14, Bicycle 770b20, Boat 9600ff, '
  'Bus 003c64, Car 00008e, Caravan 00005a, Motorcycle 0000e6, On Rails 005064, Other Vehicle '
  '804040, Trailer 00006e, Truck 000046, Wheeled Slow 0000c0, Car Mount 202020, Ego Vehicle '
  '780a0a'
)


def known_classes(num_classes: int) -> DatasetSpec | None:
  """Cityscapes for 19, VOC 2012 for 21, ADE20K for 150 classes; None for other numbers."""
  known = (CITYSCAPES, VOC2012, ADE20K)
  return next((spec for spec in known if spec.num_classes == num_classes), None)


def numbered_classes(num_classes: int) -> DatasetSpec:
  """Names classes class_0, class_1, ... where nothing is known of them."""
  names = tuple(f'class_{i}' for i in range(num_classes))
  return DatasetSpec(names, default_palette(num_classes))


def _entries(text: str) -> list[tuple[str, tuple[int, int, int]]]:
  """Reads names and colours from 'NAME RRGGBB, ...'."""
  rows = [entry.rpartition(' ') for entry in text.split(', ')]
  colours = [bytes.fromhex(colour) for _, _, colour in rows]
  return [(name, (c[0], c[1], c[2])) for (name, _, _), c in zip(rows, colours, strict=True)]


def _spec(text: str) -> DatasetSpec:
  names, palette = zip(*_entries(text), strict=True)
  return DatasetSpec(names, palette)


def _cityscapes_labels() -> tuple[CityscapesLabel, ...]:
  labels: list[CityscapesLabel] = []
  train_id = 0
  for category_id, (category, text) in enumerate(_CITYSCAPES.items()):
    instances = category in ('human', 'vehicle')
    for name, colour in _entries(text):
      evaluated = name.endswith('*')
      row = (name.rstrip('*'), len(labels), train_id if evaluated else 255)
      labels.append(CityscapesLabel(*row, category, category_id, instances, not evaluated, colour))
      train_id += evaluated
  plate = CityscapesLabel('license plate', -1, -1, 'vehicle', 7, False, True, (0, 0, 142))
  return (*labels, plate)


CITYSCAPES_LABELS = _cityscapes_labels()  # 35: ids 0-33 and the license plate
_EVALUATED = [label for label in CITYSCAPES_LABELS if not label.ignore_in_eval]

CITYSCAPES = DatasetSpec(
  tuple(label.name for label in _EVALUATED), tuple(label.colour for label in _EVALUATED)
)
ADE20K = _spec(_ADE20K)  # SceneParse150; files hold 1-150, and 0 for everything else
VOC2012 = DatasetSpec(tuple(_VOC2012.split()), voc_palette(21))
CAMVID = _spec(_CAMVID)
COCO_STUFF = DatasetSpec(tuple(_COCO_STUFF.split(', ')), voc_palette(171))  # 80 things first
# Their order is that of their ids among the 459, as in mmsegmentation's labels, which it calls by
# names in another order.
PASCAL_CONTEXT = DatasetSpec(('background', *_PASCAL_CONTEXT.split()), voc_palette(60))
PASCAL_CONTEXT_59 = DatasetSpec(PASCAL_CONTEXT.class_names[1:], PASCAL_CONTEXT.palette[1:])
MAPILLARY = _spec(_MAPILLARY)  # Vistas v1.2 without its last label, Unlabeled
