"""Real panoramas through the real command with the bundled model: all sizes, odd ones too, in bounded
memory."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

PICTURES = (
    "bluemarble_topo_2048x1024.jpg",
    "rhein1_rodenkirchen_4061x2031.jpg",
    "jordan_pond_4096x2048.jpg",
    "qwantani_puresky_8192x4096.jpg",
    "durlach_saumarkt_8432x4216.jpg",
)

MEMORY_LIMIT_GIB = 3.0

QUICK = ["--points-per-side", "8", "--max-passes", "1", "--iou-start", "0.3", "--iou-end", "0.3"]
QUICK += ["--stability-start", "0.3", "--stability-end", "0.3", "--workers", "1", "--progress", "none"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", PICTURES)
def test_a_real_panorama(shared_data, tmp_path, name):
    output = tmp_path / "out.geojson"
    command = [
        sys.executable,
        "-m",
        "remotesam",
        "panorama",
        str(shared_data(f"panorama/{name}")),
        "-o",
        str(output),
    ]
    subprocess.run([*command, *QUICK, "--preview", str(tmp_path / "preview.png")], check=True)
    document = json.loads(output.read_text())
    shapes = np.array([shape(feature["geometry"]) for feature in document["features"]], object)
    assert len(shapes) > 0
    assert shapely.is_valid(shapes).all()
    assert (shapely.bounds(shapes) >= [-180, -90, -180, -90]).all()
    assert (shapely.bounds(shapes) <= [180, 90, 180, 90]).all()
    areas = [feature["properties"]["area_sr"] for feature in document["features"]]
    assert 0 < sum(areas) <= 4 * np.pi * (1 + 1e-9)
    # The largest of all children so far: a bound for each of them.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert peak < MEMORY_LIMIT_GIB
