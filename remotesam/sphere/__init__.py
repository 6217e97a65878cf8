"""Segmenting on the sphere: pure geometry and arrays (numpy, OpenCV), no files and no network."""

from remotesam.sphere.equirect import Equirect
from remotesam.sphere.fusion import Fused, import_views, map_views
from remotesam.sphere.layouts import Layout, views
from remotesam.sphere.sampler import Sampler
from remotesam.sphere.views import View

__all__ = ["Equirect", "Fused", "Layout", "Sampler", "View", "import_views", "map_views", "views"]
