"""Clicks on a raster in, polygons out."""
