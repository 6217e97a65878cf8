"""From map layers to engine arguments, and from engine files to styled layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from osgeo import gdal
from qgis.core import (
    QgsContrastEnhancement,
    QgsCoordinateTransform,
    QgsDistanceArea,
    QgsGeometry,
    QgsLayerTreeGroup,
    QgsMapLayer,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
    QgsSingleBandGrayRenderer,
    QgsUnitTypes,
    QgsVectorLayer,
)
from qgis.PyQt import sip

from .settings import tr

LAYER = "segments"
"""Name of the table the engine writes."""


class SourceError(Exception):
    """A layer cannot be handed to the engine; the text is for the user."""


def source_of(layer: QgsRasterLayer, folder: Path | None = None) -> str:
    """What to hand the engine for a raster layer.

    A raster without georeference lies below the x axis in QGIS, one unit per pixel. The engine would count
    rows downwards; a small VRT written to `folder` tells it QGIS's convention, so polygons land on the image.

    Args:
        layer: A raster layer.
        folder: Where such a VRT may be written; None = never write one.

    Returns:
        A path, URL or GDAL name.

    Raises:
        SourceError: The layer is not made by GDAL (a web map, for example).
    """
    if layer.providerType() != "gdal":
        raise SourceError(
            tr("“{}” is a {} layer. The engine reads files: export the extent you need with "
               "Layer ▸ Save As… first.").format(layer.name(), layer.providerType())
        )  # fmt: skip
    parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    path = str(parts.get("path") or layer.source())
    inner = str(parts.get("layerName") or "")
    if inner or parts.get("openOptions"):
        source = layer.source().split("|")[0]
    else:
        source = f"{parts.get('vsiPrefix') or ''}{path}{parts.get('vsiSuffix') or ''}"
    if folder is not None and needs_pixel_vrt(source):
        return str(write_pixel_vrt(source, folder))
    return source


def needs_pixel_vrt(source: str) -> bool:
    """True when a raster has neither an affine georeference nor control points."""
    dataset = gdal.Open(source)
    if dataset is None:
        return False
    return dataset.GetGeoTransform(can_return_null=True) is None and dataset.GetGCPCount() == 0


def write_pixel_vrt(source: str, folder: Path) -> Path:
    """Write `<name>.pixels.vrt`: the same raster in QGIS's pixel coordinates, (column, -row).

    Rewritten only when it differs, because the engine resumes a run on the same, unchanged file only.
    """
    target = folder / f"{Path(source).stem}.pixels.vrt"
    memory = f"/vsimem/remotesam_{target.name}"
    dataset = gdal.GetDriverByName("VRT").CreateCopy(memory, gdal.Open(source))
    dataset.SetGeoTransform((0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    dataset.FlushCache()
    text = str(dataset.GetMetadata("xml:VRT")[0])
    del dataset
    gdal.Unlink(memory)
    absolute = str(Path(source).resolve()) if Path(source).exists() else source
    text = text.replace('relativeToVRT="1"', 'relativeToVRT="0"').replace(f">{source}<", f">{absolute}<")
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")
    return target


def default_output(layer: QgsRasterLayer) -> str:
    """A new file next to the raster, or in the home folder when the raster is not a local file."""
    path = Path(QgsProviderRegistry.instance().decodeUri("gdal", layer.source()).get("path") or "")
    folder = path.parent if path.is_file() and _writable(path.parent) else Path.home()
    stem = path.stem or layer.name()
    return str(next_free(folder / f"{stem}_segments.gpkg"))


def next_free(path: Path) -> Path:
    """The path itself, or with _2, _3, ... when a file of that name exists."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return candidate


def _writable(folder: Path) -> bool:
    probe = folder / ".remotesam-probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError:  # the answer to the question, not a failure
        return False
    return True


@dataclass(frozen=True)
class PixelArea:
    """What a pixel at the centre of a raster covers.

    Attributes:
        area: In `unit`; positive.
        unit: The raster's map unit squared, "m²" or "ft²"; "m²" on the ellipsoid where map units are degrees.
        ground: In m² on the ellipsoid; differs from map units where a projection stretches.
    """

    area: float
    unit: str
    ground: float

    def at_overview(self, level: int | None) -> PixelArea:
        """The same for a pixel of an overview, usually of half the size per level; None = full resolution."""
        share = 1 if level is None else 4 ** (level + 1)
        return PixelArea(self.area * share, self.unit, self.ground * share)

    def pixels(self, area: float) -> int:
        """An area in `unit` as a whole number of pixels."""
        return round(area / self.area)


def pixel_area(layer: QgsRasterLayer) -> PixelArea | None:
    """Area of the raster's centre pixel; None without a CRS."""
    crs = layer.crs()
    if not crs.isValid():
        return None
    measure = QgsDistanceArea()
    measure.setSourceCrs(crs, QgsProject.instance().transformContext())
    measure.setEllipsoid(crs.ellipsoidAcronym() or "EPSG:7030")
    centre = layer.extent().center()
    width, height = layer.rasterUnitsPerPixelX(), layer.rasterUnitsPerPixelY()
    pixel = QgsRectangle(centre.x(), centre.y(), centre.x() + width, centre.y() + height)
    ground = float(measure.measureArea(QgsGeometry.fromRect(pixel)))
    if not math.isfinite(ground) or ground <= 0:
        return None
    if crs.isGeographic():
        return PixelArea(ground, "m²", ground)
    unit = QgsUnitTypes.toAbbreviatedString(QgsUnitTypes.distanceToAreaUnit(crs.mapUnits()))
    return PixelArea(width * height, unit, ground)


def as_displayed(layer: QgsRasterLayer) -> dict[str, str]:
    """The engine settings that show it what QGIS shows: bands and value range of the layer's renderer.

    Returns:
        `bands` and, where the renderer stretches, `stretch`; empty for renderers that have neither.
    """
    renderer = layer.renderer()
    if isinstance(renderer, QgsMultiBandColorRenderer):
        bands = [renderer.redBand(), renderer.greenBand(), renderer.blueBand()]
        enhancements = [
            renderer.redContrastEnhancement(),
            renderer.greenContrastEnhancement(),
            renderer.blueContrastEnhancement(),
        ]
    elif isinstance(renderer, QgsSingleBandGrayRenderer):
        bands, enhancements = [renderer.grayBand()], [renderer.contrastEnhancement()]
    else:
        return {}
    shown = {} if min(bands) < 1 else {"bands": ",".join(map(str, bands))}
    none = QgsContrastEnhancement.ContrastEnhancementAlgorithm.NoEnhancement
    active = [
        enhancement
        for enhancement in enhancements
        if enhancement is not None and enhancement.contrastEnhancementAlgorithm() != none
    ]
    if active:  # the engine has one range for all bands: the one that clips nothing QGIS shows
        low = min(enhancement.minimumValue() for enhancement in active)
        high = max(enhancement.maximumValue() for enhancement in active)
        if high > low:
            shown["stretch"] = f"{low:g},{high:g}"
    return shown


def extent_in_layer(
    extent: QgsRectangle, crs, layer: QgsRasterLayer
) -> tuple[float, float, float, float] | None:
    """A rectangle as (west, south, east, north) in the layer's CRS; None when it holds the whole layer.

    Raises:
        SourceError: It lies outside the layer.
    """
    if crs.isValid() and layer.crs().isValid() and crs != layer.crs():
        transform = QgsCoordinateTransform(crs, layer.crs(), QgsProject.instance())
        extent = transform.transformBoundingBox(extent)
    if extent.contains(layer.extent()):
        return None
    part = extent.intersect(layer.extent())
    if part.isEmpty():
        raise SourceError(tr("The extent lies outside “{}”.").format(layer.name()))
    return (part.xMinimum(), part.yMinimum(), part.xMaximum(), part.yMaximum())


def open_segments(path: str, name: str) -> QgsVectorLayer | None:
    """Open the segments of a GeoPackage; None while it does not hold them (yet)."""
    if not Path(path).is_file():
        return None
    for uri in (f"{path}|layername={LAYER}", path):
        layer = QgsVectorLayer(uri, name, "ogr", QgsVectorLayer.LayerOptions(loadDefaultStyle=False))
        if layer.isValid():
            return layer
    return None


class ResultGroup:
    """The group of one run's layers, directly above its raster; made when first needed.

    The user may move or delete it at any time, so the tree is asked anew on every use.
    """

    def __init__(self, raster_id: str, title: str) -> None:
        """Name the group.

        Args:
            raster_id: Id of the raster layer.
            title: Name of the group.
        """
        self._raster_id, self._title = raster_id, title
        self._node: QgsLayerTreeGroup | None = None

    def add(self, layer: QgsMapLayer) -> None:
        """Add a layer to the project, on top of the group."""
        QgsProject.instance().addMapLayer(layer, False)
        if self._node is None or sip.isdeleted(self._node):
            self._node = self._insert()
        self._node.insertLayer(0, layer)

    def drop_if_empty(self) -> None:
        """Remove the group when nothing is in it."""
        if self._node is not None and not sip.isdeleted(self._node) and not self._node.children():
            self._node.parent().removeChildNode(self._node)
            self._node = None

    def _insert(self) -> QgsLayerTreeGroup:
        root = QgsProject.instance().layerTreeRoot()
        node = root.findLayer(self._raster_id)
        parent = node.parent() if node is not None else root
        for child in parent.children():
            if isinstance(child, QgsLayerTreeGroup) and child.name() == self._title:
                return child  # of an earlier run on the same raster
        index = parent.children().index(node) if node is not None else 0
        return parent.insertGroup(index, self._title)


def release(output: str) -> None:
    """Remove every project layer that reads an output or its run directory: Windows locks open files."""
    wanted = Path(output).resolve()
    run_directory = wanted.with_suffix(".remotesam")
    project = QgsProject.instance()
    stale = []
    for layer in project.mapLayers().values():
        source = Path(layer.source().split("|")[0])
        if isinstance(layer, QgsVectorLayer) and source.name:
            resolved = source.resolve()
            if resolved == wanted or run_directory in resolved.parents:
                stale.append(layer.id())
    project.removeMapLayers(stale)
