"""remotesam: any raster in, clean polygons of everything in it out."""

__version__ = "0.1.0"
