"""The Processing algorithms in a real QGIS, against the stand-in engine."""

import json
import os
import subprocess
from pathlib import Path

import processing
import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsVectorLayer,
)

from remotesam_qgis.processing.provider import RemotesamProvider


@pytest.fixture(autouse=True)
def provider(qgis_processing):
    made = RemotesamProvider()
    QgsApplication.processingRegistry().addProvider(made)
    yield made
    QgsApplication.processingRegistry().removeProvider(made)


class Feedback(QgsProcessingFeedback):
    """Remembers everything, cancels itself after a share of the work."""

    def __init__(self, cancel_at=1000.0):
        super().__init__(False)
        self.cancel_at, self.lines = cancel_at, []
        self.progressChanged.connect(lambda value: self.cancel() if value >= cancel_at else None)

    def pushConsoleInfo(self, info):
        self.lines.append(info)

    def pushInfo(self, info):
        self.lines.append(info)

    def pushWarning(self, warning):
        self.lines.append(warning)


def words_of(feedback):
    line = next(line for line in feedback.lines if line.startswith("arguments: "))
    return json.loads(line[len("arguments: ") :])


def test_all_algorithms_are_there_with_help():
    registry = QgsApplication.processingRegistry()
    for name in ("segment", "panorama", "evaluate", "plan"):
        algorithm = registry.algorithmById(f"remotesam:{name}")
        assert algorithm is not None, name
        assert algorithm.shortHelpString()


def test_a_run_gives_polygons_and_passes_only_what_was_changed(make_raster, fake_engine, tmp_path):
    feedback, output = Feedback(), str(tmp_path / "out.gpkg")
    given = {"INPUT": str(make_raster()), "OUTPUT": output, "MIN_AREA": 50, "DECAY": False, "MERGE": "none"}
    result = processing.run("remotesam:segment", {**given, "PADDING": 50}, feedback=feedback)
    assert result["SEGMENTS"] == 24
    assert QgsVectorLayer(result["OUTPUT"], "s", "ogr").featureCount() == 24
    words = words_of(feedback)
    assert words[words.index("--min-area") + 1] == "50"
    assert words[words.index("--merge") + 1] == "none"
    assert "--no-decay" in words
    assert not {"--padding", "--bands", "--tile-size", "--aoi"} & set(words), (
        "defaults are the engine's business"
    )


def test_areas_can_be_given_in_map_units(make_raster, fake_engine, tmp_path):
    given = {"MIN_AREA": 12.5, "MIN_AREA_UNIT": "map units", "ABSORB_AREA": 20}
    feedback = Feedback()
    fine = {"INPUT": str(make_raster(size=0.5)), "OUTPUT": str(tmp_path / "o.gpkg")}
    processing.run("remotesam:segment", {**fine, **given}, feedback=feedback)
    words = words_of(feedback)
    assert words[words.index("--min-area") + 1] == "50"
    assert words[words.index("--absorb-area") + 1] == "20", "each area has a unit of its own"
    assert "Min area: 12.5 m² = 50 px (a pixel at the raster's centre is 0.25 m²)" in feedback.lines
    plan = processing.run("remotesam:plan", {"INPUT": fine["INPUT"], **given, "OVERVIEW": "0"})
    words = json.loads(plan["PLAN"])["arguments"]
    assert words[words.index("--min-area") + 1] == "12"
    photo = str(make_raster("photo.png", epsg=None))
    with pytest.raises(QgsProcessingException, match="no CRS"):
        processing.run("remotesam:segment", {**fine, **given, "INPUT": photo})


def test_the_extent_reaches_the_engine_in_the_crs_of_the_raster(make_raster, fake_engine, tmp_path):
    feedback = Feedback()
    extent = "15.0001,15.0004,40.6509,40.6512 [EPSG:4326]"
    given = {"INPUT": str(make_raster()), "OUTPUT": str(tmp_path / "o.gpkg"), "EXTENT": extent}
    processing.run("remotesam:segment", given, feedback=feedback)
    words = words_of(feedback)
    west, south, east, north = map(float, words[words.index("--aoi") + 1].split(","))
    assert 500000 < west < east < 500080
    assert 4500000 <= south < north <= 4500060


def test_cancel_keeps_the_partial_file_and_tells_where(
    make_raster, fake_engine, tmp_path, monkeypatch, provider
):
    monkeypatch.setenv("FAKE_ENGINE", "slow")
    found, feedback = [], Feedback(cancel_at=30.0)
    provider.partial.found.connect(found.append)
    output = str(tmp_path / "out.gpkg")
    processing.run("remotesam:segment", {"INPUT": str(make_raster()), "OUTPUT": output}, feedback=feedback)
    assert 8 <= QgsVectorLayer(output, "s", "ogr").featureCount() < 24
    assert any(output in line for line in feedback.lines)
    QgsApplication.processEvents()
    assert found == [output]


@pytest.mark.parametrize("output", ["out.shp", "memory:", "ogr:dbname='x.gpkg' table=\"t\"", "out.geojson"])
def test_outputs_the_engine_cannot_write_are_refused_before_it_starts(make_raster, fake_engine, output):
    with pytest.raises(QgsProcessingException, match="gpkg"):
        processing.run("remotesam:segment", {"INPUT": str(make_raster()), "OUTPUT": output})


def test_an_engine_error_is_the_error_of_the_algorithm(make_raster, fake_engine, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ENGINE", "error")
    given = {"INPUT": str(make_raster()), "OUTPUT": str(tmp_path / "o.gpkg")}
    with pytest.raises(QgsProcessingException, match="row 7 cannot be read"):
        processing.run("remotesam:segment", given)


def test_without_an_engine_the_error_says_how_to_install(make_raster, tmp_path, monkeypatch):
    monkeypatch.setenv("REMOTESAM_EXECUTABLE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    given = {"INPUT": str(make_raster()), "OUTPUT": str(tmp_path / "o.gpkg")}
    with pytest.raises(QgsProcessingException, match="uv tool install"):
        processing.run("remotesam:segment", given)


def test_panorama_plan_and_evaluate_speak_to_the_engine(make_raster, fake_engine, tmp_path):
    raster, output = str(make_raster()), str(tmp_path / "pano.gpkg")
    feedback = Feedback()
    processing.run("remotesam:panorama", {"INPUT": raster, "OUTPUT": output}, feedback=feedback)
    assert words_of(feedback)[0] == "panorama"
    plan = processing.run("remotesam:plan", {"INPUT": raster, "TILE_SIZE": "512"})
    assert plan["TILES"] == 6
    assert json.loads(plan["PLAN"])["arguments"] == ["--tile-size", "512"]
    report = str(tmp_path / "m.json")
    given = {"INPUT": output, "REFERENCE": output, "REPORT": report}
    measures = processing.run("remotesam:evaluate", given)
    assert json.loads(measures["MEASURES"]) == json.loads(Path(report).read_text())


@pytest.fixture
def model_file(tmp_path):
    """A model with all algorithms of the provider, and one of QGIS behind them."""
    model = QgsProcessingModelAlgorithm("m", "g")
    raster = QgsProcessingParameterRasterLayer("raster")
    model.addModelParameter(raster, QgsProcessingModelParameter("raster"))
    from_model = QgsProcessingModelChildParameterSource.fromModelParameter("raster")
    segments = QgsProcessingModelChildParameterSource.fromChildOutput("segment", "OUTPUT")
    views = QgsProcessingModelChildParameterSource.fromChildOutput("panorama", "OUTPUT")
    for name, sources in (
        ("remotesam:plan", {"INPUT": from_model}),
        ("remotesam:segment", {"INPUT": from_model}),
        ("remotesam:panorama", {"INPUT": from_model}),
        ("remotesam:evaluate", {"INPUT": segments, "REFERENCE": views}),
        ("native:centroids", {"INPUT": segments}),
    ):
        child = QgsProcessingModelChildAlgorithm(name)
        child.setChildId(name.split(":")[1])
        for parameter, source in sources.items():
            child.addParameterSources(parameter, [source])
        if name == "native:centroids":
            out = QgsProcessingModelOutput("points")
            out.setChildId("centroids")
            out.setChildOutputName("OUTPUT")
            child.setModelOutputs({"points": out})
        model.addChildAlgorithm(child)
    target = tmp_path / "model.model3"
    assert model.toFile(str(target))
    return target


def test_all_algorithms_run_from_a_model_file(
    make_raster, fake_engine, model_file, tmp_path, qgis_new_project
):
    loaded = QgsProcessingModelAlgorithm()
    assert loaded.fromFile(str(model_file))
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    loaded.initAlgorithm()
    output = next(parameter.name() for parameter in loaded.destinationParameterDefinitions())
    points = str(tmp_path / "points.gpkg")
    given = {"raster": str(make_raster()), output: points}
    results, ok = loaded.run(given, context, QgsProcessingFeedback())
    assert ok
    assert QgsVectorLayer(points, "p", "ogr").featureCount() == 24
    children = results["CHILD_RESULTS"]
    assert set(children) == {"plan", "segment", "panorama", "evaluate", "centroids"}
    assert children["panorama"]["SEGMENTS"] == 24


def test_qgis_process_runs_the_installed_plugin(make_raster, fake_engine, model_file, tmp_path):
    """The plugin in an empty profile, from the command line, as a user of qgis_process meets it."""
    plugins = tmp_path / "profiles" / "default" / "python" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "remotesam_qgis").symlink_to(Path(__file__).parent.parent / "remotesam_qgis")
    ini = tmp_path / "profiles" / "default" / "QGIS" / "QGIS3.ini"
    ini.parent.mkdir()
    ini.write_text("[PythonPlugins]\nremotesam_qgis=true\n")
    program = next(
        (path for path in ("/usr/bin/qgis_process.bin", "/usr/bin/qgis_process") if Path(path).exists()), None
    )
    if program is None:
        pytest.skip("qgis_process is not installed")

    def run(what, *words):
        done = subprocess.run(
            [program, "run", what, "--", *words],
            env={**os.environ, "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    raster = make_raster()
    said = run("remotesam:segment", f"INPUT={raster}", f"OUTPUT={tmp_path}/p.gpkg")
    assert "SEGMENTS:\t24" in said
    assert "Model nano on cpu" in said
    assert QgsVectorLayer(f"{tmp_path}/p.gpkg", "p", "ogr").featureCount() == 24
    said = run(str(model_file), f"raster={raster}", f"centroids:points={tmp_path}/points.gpkg")
    assert QgsVectorLayer(f"{tmp_path}/points.gpkg", "p", "ogr").featureCount() == 24, said
