"""Processing algorithms: the same engine from the toolbox, batch, models and qgis_process."""
