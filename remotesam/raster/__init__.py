"""Any raster that GDAL reads."""
