"""A whole run over a raster."""
