"""The web page of `pspnet demo`."""
