"""Segmenting on the sphere: pure geometry and arrays (numpy, OpenCV), no files and no network."""

from remotesam.sphere.equirect import Equirect
from remotesam.sphere.layouts import Layout, views
from remotesam.sphere.sampler import Sampler
from remotesam.sphere.views import View

__all__ = ["Equirect", "Layout", "Sampler", "View", "views"]
