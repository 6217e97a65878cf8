"""A stand-in for the engine, spoken to exactly like the real one; behaviour by FAKE_ENGINE=word,word.

Words: ignore_cancel, ignore_term, grandchild, garbage, huge, crash, kill_self, error, silent, old_protocol,
slow. Standard library only, so any Python can run it; it writes a real GeoPackage, tile by tile.
"""

import argparse
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

MODES = set(filter(None, os.environ.get("FAKE_ENGINE", "").split(",")))
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "tile_size": {
            "type": "integer",
            "minimum": 64,
            "maximum": 8192,
            "default": 1000,
            "title": "Tile size",
            "description": "Side of a tile's core in px.",
            "x-group": "Tiles",
            "x-unit": "px",
        },
        "padding": {"type": "integer", "minimum": 0, "default": 50, "description": "Context pixels."},
        "min_iou_start": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 0.93,
            "description": "Predicted IoU a mask needs in the first pass.",
        },
        "merge": {
            "type": "string",
            "enum": ["overlap", "best_match", "none"],
            "default": "overlap",
            "description": "How segments of neighbouring tiles are joined.",
        },
        "black_paint": {"type": "boolean", "default": True, "description": "Paint found segments black."},
        "max_passes": {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}],
            "default": None,
            "description": "Stop after this many passes.",
        },
        "scales": {
            "type": "array",
            "items": {"type": "integer"},
            "default": [],
            "description": "Extra scales.",
        },
    },
}


def emit(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def watch(cancel):
    while True:
        line = sys.stdin.readline()
        if not line or line.strip() == "cancel":
            break
    if "ignore_cancel" not in MODES:
        cancel.set()


class GeoPackage:
    """The few tables a reader needs."""

    def __init__(self, path):
        Path(path).unlink(missing_ok=True)
        self.db = sqlite3.connect(path, timeout=30)
        self.db.executescript("""
            PRAGMA application_id=1196444487; PRAGMA user_version=10200;
            CREATE TABLE gpkg_spatial_ref_sys(srs_name TEXT, srs_id INTEGER PRIMARY KEY, organization TEXT,
              organization_coordsys_id INTEGER, definition TEXT, description TEXT);
            INSERT INTO gpkg_spatial_ref_sys VALUES('undefined',-1,'NONE',-1,'undefined',''),
              ('EPSG:32633',32633,'EPSG',32633,'undefined','');
            CREATE TABLE gpkg_contents(table_name TEXT PRIMARY KEY, data_type TEXT, identifier TEXT,
              description TEXT, last_change TEXT, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE,
              srs_id INTEGER);
            INSERT INTO gpkg_contents VALUES('segments','features','segments','','2026-01-01T00:00:00Z',
              NULL,NULL,NULL,NULL,32633);
            CREATE TABLE gpkg_geometry_columns(table_name TEXT, column_name TEXT, geometry_type_name TEXT,
              srs_id INTEGER, z INTEGER, m INTEGER);
            INSERT INTO gpkg_geometry_columns VALUES('segments','geom','MULTIPOLYGON',32633,0,0);
            CREATE TABLE segments(fid INTEGER PRIMARY KEY, geom BLOB, score REAL, "pass" INTEGER, area REAL);
        """)

    def add(self, x, y, size, score):
        ring = [(x, y), (x + size, y), (x + size, y + size), (x, y + size), (x, y)]
        points = b"".join(struct.pack("<2d", *point) for point in ring)
        polygon = struct.pack("<BIII", 1, 3, 1, len(ring)) + points
        blob = b"GP\x00\x01" + struct.pack("<i", 32633) + struct.pack("<BII", 1, 6, 1) + polygon
        self.db.execute(
            'INSERT INTO segments(geom,score,"pass",area) VALUES(?,?,?,?)', (blob, score, 0, size**2)
        )

    def commit(self):
        self.db.commit()


def misbehave(tile):
    """What goes wrong before a tile; an exit code ends the run."""
    if "garbage" in MODES:
        sys.stdout.write("Loading model...\n{not json}\n[1, 2]\n")
    if "huge" in MODES:
        sys.stdout.write("z" * 3_000_000 + "\n")
    if tile == 2 and "crash" in MODES:
        sys.stderr.write("RuntimeError: the reason of the crash\n")
        sys.stderr.flush()
        os._exit(17)
    if tile == 2 and "kill_self" in MODES:
        os.kill(os.getpid(), signal.SIGKILL)
    if tile == 2 and "error" in MODES:
        emit("error", code="raster", message="t.tif: row 7 cannot be read.", hint="Repair the file.")
        sys.exit(1)


def prepare(args):
    cancel = threading.Event()
    if "ignore_term" in MODES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if args.control:
        threading.Thread(target=watch, args=(cancel,), daemon=True).start()
    if "grandchild" in MODES:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        emit("grandchild", pid=child.pid)
    return cancel


def segment(args):
    cancel = prepare(args)
    if "silent" in MODES:
        return 0
    total = int(os.environ.get("FAKE_TILES", "6"))
    package = GeoPackage(args.output)
    package.commit()
    emit(
        "start",
        protocol=0 if "old_protocol" in MODES else 1,
        version="0.0-fake",
        pid=os.getpid(),
        tiles=total,
        model="nano",
        live=args.output,
        output=args.output,
        layer="segments",
        crs="EPSG:32633",
        unknown_field=[1],
    )
    emit("model", name="nano", device="cpu")
    emit("stage", name="tiles")
    emit("an_event_of_the_future", x=1)
    for tile in range(total):
        time.sleep(0.3 if "slow" in MODES else 0.02)
        if cancel.is_set():
            emit("cancelled", partial=True, features=4 * tile, output=args.output, seconds=1.0)
            return 3
        misbehave(tile)
        west, south, size = 500000.0 + 10 * tile, 4500000.0, 4.0
        for i in range(4):
            package.add(west + 5 * (i % 2), south + 5 * (i // 2), size, 0.6 + 0.1 * i)
        package.commit()
        emit(
            "tile",
            done=tile + 1,
            total=total,
            bbox=[west, south, west + 10, south + 10],
            segments=4,
            committed=4 * (tile + 1),
            eta_s=(total - tile - 1) * 0.02,
        )
    emit("done", partial=False, features=4 * total, output=args.output, seconds=1.0)
    return 0


def serve():
    for line in sys.stdin:
        request = json.loads(line)
        if request["cmd"] == "quit":
            return 0
        if request["cmd"] == "crash":
            os._exit(9)
        answer = {"ok": True, "echo": request}
        if request["cmd"] == "predict":
            answer |= predicted(request)
        emit("reply", id=request["id"], cmd=request["cmd"], **answer)
    return 0


def predicted(request):
    """Squares of 10 and 20 m round the last place that was named."""
    box = request.get("box") or [0, 0, 0, 0]
    x, y = request["points"][-1] if request["points"] else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    if not 500000 <= x <= 500080:
        return {"ok": False, "message": "a click lies outside the raster; click on the image"}
    x, y = round(x), round(y)
    squares = []
    for half in (5, 10):
        ring = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
        wkb = struct.pack("<BIII", 1, 3, 1, 5) + b"".join(struct.pack("<2d", *p) for p in [*ring, ring[0]])
        squares.append({"wkb": wkb.hex(), "score": 0.9 - half / 100, "area_px": 4 * half * half})
    return {"candidates": squares, "encodes": 0, "seconds": 0.0}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("source", nargs="?")
    for name in ("--output", "--model", "--device", "--progress", "--control", "--aoi"):
        parser.add_argument(name)
    parser.add_argument("--json", action="store_true")
    args, rest = parser.parse_known_args()
    if args.command == "doctor":
        print(
            json.dumps(
                {
                    "protocol": 1,
                    "remotesam": "0.0-fake",
                    "python": sys.version,
                    "prefix": sys.prefix,
                    "environ": dict(os.environ),
                    "models": [{"name": "nano", "present": True}],
                    "devices": ["cpu"],
                }
            )
        )
        return 0
    if args.command == "schema":
        print(json.dumps(SCHEMA))
        return 0
    if args.command == "plan":
        print(json.dumps({"tiles": 6, "pixels": 36_000_000, "valid_share": 0.97, "arguments": rest}))
        return 0
    if args.command == "evaluate":
        print(json.dumps({"segments": args.source, "reference": rest, "asa": 0.5}))
        return 0
    if args.command == "serve":
        return serve()
    sys.stderr.write("arguments: " + json.dumps(sys.argv[1:]) + "\n")
    return segment(args)


if __name__ == "__main__":
    sys.exit(main())
