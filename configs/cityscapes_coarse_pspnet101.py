"""PSPNet-101 on Cityscapes' fine and coarse labels together: the row of cityscapes_paper, by name.

pspnet prepare --dataset=cityscapes --data_dir=DIR --manual_dir=ZIPS
pspnet prepare --dataset=cityscapes_coarse --data_dir=DIR --manual_dir=ZIPS
pspnet train --config=cityscapes_coarse_pspnet101 --workdir=/tmp/cityscapes \
    --config.data.data_dir=DIR

is --config=cityscapes_paper:table7-coarse.
"""

import cityscapes_paper


def get_config():
  return cityscapes_paper.get_config('table7-coarse')
