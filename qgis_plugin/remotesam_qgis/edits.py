"""Edits of segments, each one step of the layer's undo stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsVectorLayer,
    QgsVectorLayerUtils,
    QgsWkbTypes,
)

from .settings import tr


class EditError(Exception):
    """An edit is not possible; the text is for the user."""


def new_layer(name: str, crs: QgsCoordinateReferenceSystem) -> QgsVectorLayer:
    """An empty memory layer for clicked segments; QGIS offers to save it."""
    uri = "MultiPolygon?field=score:double&field=model:string(80)&field=source:string(254)"
    layer = QgsVectorLayer(uri, name, "memory")
    layer.setCrs(crs)
    return layer


def add_segment(layer: QgsVectorLayer, geometry: QgsGeometry, values: dict[str, object], clear: bool) -> None:
    """Add a segment.

    Args:
        layer: Polygon layer.
        geometry: Polygon in the layer's CRS.
        values: Attributes by name; those the layer lacks are left out.
        clear: True = leave out what existing segments cover already.

    Raises:
        EditError: The layer cannot be edited, or nothing of the polygon is left.
    """
    if clear:
        for other in layer.getFeatures(QgsFeatureRequest().setFilterRect(geometry.boundingBox())):
            geometry = geometry.difference(other.geometry())
    geometry = _polygons(geometry)
    if geometry is None:
        raise EditError(tr("Existing segments cover all of it."))
    with _step(layer, tr("remotesam: add segment")):
        attributes = {
            index: values[field.name()]
            for index, field in enumerate(layer.fields())
            if values.get(field.name()) is not None
        }
        layer.addFeature(QgsVectorLayerUtils.createFeature(layer, _for_layer(layer, geometry), attributes))


def cut_out(layer: QgsVectorLayer, piece: QgsGeometry) -> int:
    """Split every selected segment along a polygon: its part inside becomes a segment of its own.

    Args:
        layer: Polygon layer with a selection.
        piece: Polygon in the layer's CRS.

    Returns:
        Number of segments that were split.

    Raises:
        EditError: Nothing is selected, or the polygon splits nothing.
    """
    pieces: list[tuple[QgsFeature, QgsGeometry, QgsGeometry]] = []
    for feature in layer.selectedFeatures():
        inside = _polygons(feature.geometry().intersection(piece))
        outside = _polygons(feature.geometry().difference(piece))
        if inside is not None and outside is not None:
            pieces.append((feature, inside, outside))
    if not pieces:
        raise EditError(tr("Select the segment to split; the clicked polygon must cover a part of it."))
    with _step(layer, tr("remotesam: split segments")):
        for feature, inside, outside in pieces:
            layer.changeGeometry(feature.id(), _for_layer(layer, outside))
            attributes = {
                index: value
                for index, value in enumerate(feature.attributes())
                if index not in layer.primaryKeyAttributes()
            }
            new = QgsVectorLayerUtils.createFeature(layer, _for_layer(layer, inside), attributes)
            layer.addFeature(new)
    return len(pieces)


def merge_selected(layer: QgsVectorLayer) -> None:
    """Join the selected segments into the largest of them, whose attributes stay.

    Raises:
        EditError: Fewer than two are selected, or the layer cannot be edited.
    """
    selected = sorted(layer.selectedFeatures(), key=lambda feature: -feature.geometry().area())
    if len(selected) < 2:
        raise EditError(tr("Select two or more segments to merge."))
    union = _polygons(QgsGeometry.unaryUnion([feature.geometry() for feature in selected]))
    if union is None:
        raise EditError(tr("The selected segments have no area."))
    with _step(layer, tr("remotesam: merge segments")):
        layer.changeGeometry(selected[0].id(), _for_layer(layer, union))
        layer.deleteFeatures([feature.id() for feature in selected[1:]])
        layer.selectByIds([selected[0].id()])


def delete_selected(layer: QgsVectorLayer) -> None:
    """Delete the selected segments.

    Raises:
        EditError: Nothing is selected, or the layer cannot be edited.
    """
    if not layer.selectedFeatureCount():
        raise EditError(tr("Select the segments to delete."))
    with _step(layer, tr("remotesam: delete segments")):
        layer.deleteSelectedFeatures()


@contextmanager
def _step(layer: QgsVectorLayer, title: str) -> Iterator[None]:
    if not layer.isEditable() and not layer.startEditing():
        raise EditError(tr("“{}” cannot be edited.").format(layer.name()))
    layer.beginEditCommand(title)
    try:
        yield
    except BaseException:
        layer.destroyEditCommand()
        raise
    layer.endEditCommand()
    layer.triggerRepaint()


def _polygons(geometry: QgsGeometry) -> QgsGeometry | None:
    if geometry.isEmpty():
        return None
    kind = QgsWkbTypes.GeometryType.PolygonGeometry
    if geometry.type() == kind and not geometry.isEmpty():
        return geometry
    parts = [QgsGeometry(part.clone()) for part in geometry.constParts()]
    areas = [part for part in parts if part.type() == kind and part.area() > 0]
    return QgsGeometry.unaryUnion(areas) if areas else None


def _for_layer(layer: QgsVectorLayer, geometry: QgsGeometry) -> QgsGeometry:
    made = QgsGeometry(geometry)
    if QgsWkbTypes.isMultiType(layer.wkbType()):
        made.convertToMultiType()
    return made
