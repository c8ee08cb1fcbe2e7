"""ADE20K, PASCAL VOC 2012 and Cityscapes as their own evaluation codes score them."""
