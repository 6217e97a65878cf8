"""Everything about the engine process: finding, starting, following and stopping it.

No Qt and no QGIS in here, only the standard library, so it runs and is tested in any Python.
"""
