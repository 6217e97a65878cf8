"""How segments look: one colour each, by score, by pass, and while they arrive."""

from __future__ import annotations

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFeatureRequest,
    QgsFillSymbol,
    QgsGraduatedSymbolRenderer,
    QgsProperty,
    QgsRendererCategory,
    QgsRendererRange,
    QgsSingleSymbolRenderer,
    QgsStyle,
    QgsSymbolLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from .settings import tr

STYLES = ("random", "score", "pass", "outline")
FILL_ALPHA = 90
"""Of 255: the image stays readable under its segments."""
GOLDEN_ANGLE = 137.508
"""Degrees of hue between consecutive ids: neighbours in the table get colours far apart."""
SCORE_CLASSES = 6
SCORE_SAMPLE = 20_000
"""Scores looked at for the class limits: enough for quantiles, and read in no time."""
PASS_LIMIT = 40


def style_titles() -> dict[str, str]:
    """Style name to the text users see."""
    return {
        "random": tr("One colour per segment"),
        "score": tr("By score"),
        "pass": tr("By pass"),
        "outline": tr("Outlines only"),
    }


def apply_style(layer: QgsVectorLayer, style: str) -> None:
    """Style a segments layer; a style that needs a missing attribute falls back to one colour each."""
    names = layer.fields().names()
    if style == "score" and "score" in names:
        renderer = _by_score(layer)
    elif style == "pass" and "pass" in names:
        renderer = _by_pass(layer)
    elif style == "outline":
        renderer = QgsSingleSymbolRenderer(symbol(None, QColor("#ff7a1a"), 0.35))
    else:
        renderer = _one_colour_each()
    layer.setRenderer(renderer)
    layer.emitStyleChanged()
    layer.triggerRepaint()


def apply_live_style(layer: QgsVectorLayer) -> None:
    """Style of provisional polygons, whose borders between tiles are not joined yet."""
    layer.setRenderer(QgsSingleSymbolRenderer(symbol(QColor(255, 140, 40, 70), QColor(255, 106, 0), 0.26)))


def symbol(fill: QColor | None, outline: QColor, width: float) -> QgsFillSymbol:
    """A fill symbol; None = no fill. Width in mm."""
    made = QgsFillSymbol.createSimple(
        {
            "style": "no" if fill is None else "solid",
            "outline_width": str(width),
            "outline_width_unit": "MM",
            "joinstyle": "round",
        }
    )
    part = made.symbolLayer(0)
    if fill is not None:
        part.setFillColor(fill)
    part.setStrokeColor(outline)
    return made


def _one_colour_each() -> QgsSingleSymbolRenderer:
    made = symbol(QColor(120, 170, 255, FILL_ALPHA), QColor(90, 140, 255, 235), 0.25)
    hue = f"({GOLDEN_ANGLE} * abs($id)) % 360"  # new features have negative ids
    part = made.symbolLayer(0)
    fill = QgsProperty.fromExpression(f"color_hsva({hue}, 75, 95, {FILL_ALPHA})")
    part.setDataDefinedProperty(QgsSymbolLayer.Property.PropertyFillColor, fill)
    stroke = QgsProperty.fromExpression(f"color_hsva({hue}, 60, 100, 235)")
    part.setDataDefinedProperty(QgsSymbolLayer.Property.PropertyStrokeColor, stroke)
    return QgsSingleSymbolRenderer(made)


def _by_score(layer: QgsVectorLayer) -> QgsGraduatedSymbolRenderer:
    """Classes of equal count, red to green: what matters is which segments are better than others."""
    edges = _quantiles(layer)
    ramp = _ramp("RdYlGn")
    ranges = []
    for i, (low, high) in enumerate(zip(edges, edges[1:])):
        colour = ramp.color(i / max(len(edges) - 2, 1))
        fill = QColor(colour)
        fill.setAlpha(FILL_ALPHA + 20)
        label = f"{low:.2f} – {high:.2f}"
        ranges.append(QgsRendererRange(low, high, symbol(fill, colour.darker(130), 0.2), label))
    return QgsGraduatedSymbolRenderer("score", ranges)


def _quantiles(layer: QgsVectorLayer) -> list[float]:
    request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
    request.setSubsetOfAttributes([layer.fields().indexOf("score")]).setLimit(SCORE_SAMPLE)
    scores = sorted(
        float(feature["score"]) for feature in layer.getFeatures(request) if feature["score"] is not None
    )
    if not scores:
        return [0.0, 1.0]
    inner = [scores[len(scores) * i // SCORE_CLASSES] for i in range(1, SCORE_CLASSES)]
    # The outer limits take in what the sample has missed.
    return sorted({min(0.0, scores[0]), *inner, max(1.0, scores[-1])})


def _by_pass(layer: QgsVectorLayer) -> QgsCategorizedSymbolRenderer:
    values = sorted(
        v for v in layer.uniqueValues(layer.fields().indexOf("pass"), PASS_LIMIT) if v is not None
    )
    ramp = _ramp("Viridis")
    categories = []
    for i, value in enumerate(values):
        colour = ramp.color(1.0 - i / max(len(values) - 1, 1))
        fill = QColor(colour)
        fill.setAlpha(FILL_ALPHA + 20)
        text = tr("Pass {}").format(value)
        categories.append(QgsRendererCategory(value, symbol(fill, colour.darker(120), 0.2), text))
    return QgsCategorizedSymbolRenderer("pass", categories)


def _ramp(name: str):
    style = QgsStyle.defaultStyle()
    return style.colorRamp(name if name in style.colorRampNames() else style.colorRampNames()[0])
