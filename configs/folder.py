"""Your own images: copy this file, change what is marked, and train.

Lay the data out as

    ROOT/classes.txt                    a class name a line, or NAME R G B; id = line, from 0
                                        (`labels: colours` if labels hold those colours, not ids)
    ROOT/images/train/NAME.jpg          with ROOT/labels/train/NAME.png: a class id a pixel
    ROOT/images/val/NAME.jpg            with ROOT/labels/val/NAME.png: 255 is ignored

or say below where they are (docs/data.md has VOC's and Cityscapes' folders, lists and more), let
the doctor read it all

pspnet doctor --config=folder --config.data.root=ROOT --output=DIR

and run

pspnet train --config=folder --workdir=/tmp/mine \
    --config.data.root=ROOT
"""

import ml_collections


def get_config():
  c = ml_collections.ConfigDict()
  # When memory runs out: halve it, and base_lr with it, or raise
  # accumulation_steps, to half of it at most.
  c.batch_size = 16
  c.total_steps = 30_000
  c.crop_size = (473, 473)  # 8k+1 fits the network's cells; below your images' size
  c.eval_every = 5_000
  c.checkpoint_every = 1_000

  c.data = data = ml_collections.ConfigDict()
  data.name = 'folder'
  data.root = 'data'
  data.classes = 'classes.txt'  # relative to root
  data.ignore_ids = ()  # ids in your label files that are no class, beside 255
  data.label_offset = 0  # 1 if your ids start at 1
  data.label_ids = ml_collections.config_dict.placeholder(tuple)  # (0, 255) for such masks
  data.labels = ml_collections.config_dict.placeholder(str)  # 'colours': as classes.txt has them
  data.image_folder = 'images/{split}'  # relative to root; {split} may be left out
  data.label_folder = 'labels/{split}'
  data.image_suffix = ''  # how the names end before the extension, such as '_leftImg8bit' ...
  data.label_suffix = ''  # ... and '_mask'; files of other names are set aside
  # Without images of your own to validate on: 0.1 takes a tenth of all, chosen by their names.
  data.val_share = 0.0
  # Lists of lines "IMAGE LABEL" relative to root, or of names: one with {split}, or one each.
  data.list_file = ml_collections.config_dict.placeholder(str)
  data.exif = 'upright'  # or 'stored', if labels were drawn without turning photos upright
  data.train = {'split': 'train', 'list_file': ml_collections.config_dict.placeholder(str)}
  data.val = {'split': 'val', 'list_file': ml_collections.config_dict.placeholder(str)}

  c.model = {'depth': 50, 'dtype': 'bfloat16'}
  c.optimizer = {'base_lr': 0.01, 'weight_decay': 1e-4}
  return c
