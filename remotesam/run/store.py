"""The run directory: what is finished, on a local disk or any fsspec file system, written atomically.

`remotesam.run.layout` says what lies where. Every file is written whole under another name and then renamed
(object stores replace whole objects anyway), so a file that exists is complete. Stages are
idempotent: running one again writes the same files.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import numpy as np
import pyarrow as pa
import rasterio
from affine import Affine
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from remotesam.errors import ResumeError, StoreError
from remotesam.files import replace_file
from remotesam.run.layout import MANIFEST_NAME, all_content
from remotesam.run.records import FORMAT, Manifest, Record, decode, encode
from remotesam.windows import Window

SUMMARY_KEY = b"summary"
"""Metadata of a table that hold a record."""

BLOCK = 256
"""Side of the compressed blocks of a label map: a seam reads strips, not whole chips."""


class RunStore:
    """One run directory.

    Args:
        url: local path or any fsspec URL (s3://bucket/run, …).

    Raises:
        StoreError: from every method, when the directory cannot be read or written.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url)
        try:
            # Other processes add files: a cached listing of an object store would hide finished tiles.
            self._fs, self.root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise StoreError(
                f"{self.url}: no such kind of storage here ({error}); for s3:// pip install 'remotesam[s3]'"
            ) from error
        self.is_local = isinstance(self._fs, LocalFileSystem)

    def __reduce__(self) -> tuple[type[RunStore], tuple[str]]:
        return (RunStore, (self.url,))

    # Bytes

    def path(self, name: str) -> str:
        """Where `name` lies on its file system."""
        return f"{self.root}/{name}"

    def put(self, name: str, content: bytes) -> None:
        """Write a whole file; nobody ever sees half of it."""
        advice = "free space or choose another --run-dir, then run again with --resume"
        with self._explained(f"cannot write {name}", advice):
            if self.is_local:
                self._put_local(Path(self.path(name)), content)
            else:
                self._fs.pipe_file(self.path(name), content)

    def _put_local(self, path: Path, content: bytes) -> None:
        try:
            replace_file(content, path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(content, path)

    def get(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Read a file, or its bytes `[start, end)`."""
        with self._explained(
            f"cannot read {name}", "run again with --fresh if files of the run were deleted"
        ):
            return bytes(self._fs.cat_file(self.path(name), start=start, end=end))

    def exists(self, name: str) -> bool:
        """True when `name` is there, and therefore complete."""
        with self._explained("cannot be reached", "check the address, the network and the access rights"):
            return bool(self._fs.exists(self.path(name)))

    def remove(self, names: Iterable[str]) -> None:
        """Delete files and folders that exist."""
        for name in names:
            if self.exists(name):
                with self._explained(f"cannot delete {name}", "check the access rights"):
                    self._fs.rm(self.path(name), recursive=True)

    def finished(self, stage: str, suffix: str = ".arrow") -> set[int]:
        """Indices of the tiles that a stage has finished."""
        with self._explained(f"cannot list {stage}", "check the address, the network and the access rights"):
            try:
                names = self._fs.ls(self.path(stage), detail=False)
            except FileNotFoundError:
                return set()
        stems = (name.rsplit("/", 1)[-1] for name in names)
        return {int(stem.removesuffix(suffix)) for stem in stems if stem.endswith(suffix)}

    @contextmanager
    def _explained(self, what: str, advice: str) -> Iterator[None]:
        """Whatever the file system's library raises, as one line."""
        try:
            yield
        except Exception as error:  # clients of object stores have exceptions of their own, by no common name
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StoreError(f"{self.url}: {what} ({' '.join(reason.split())}); {advice}") from error

    # JSON and tables

    def put_json(self, name: str, content: Any) -> None:
        """Write a small document."""
        self.put(name, json.dumps(content, indent=1, ensure_ascii=False).encode())

    def get_json(self, name: str) -> Any:
        """Read a small document."""
        try:
            return json.loads(self.get(name))
        except ValueError:
            raise StoreError(f"{self.url}: {name} is damaged; run again with --fresh") from None

    def put_record(self, name: str, record: Any) -> None:
        """Write a record of `remotesam.run.records` as JSON."""
        self.put(name, encode(record))

    def get_record(self, name: str, kind: type[Record]) -> Record:
        """Read what `put_record` wrote."""
        return decode(self.get(name), kind, f"{self.url}: {name}")

    def put_table(self, name: str, table: pa.Table, summary: msgspec.Struct | None = None) -> None:
        """Write an Arrow table with its schema metadata, or with a record in their place."""
        if summary is not None:
            table = table.replace_schema_metadata({SUMMARY_KEY: encode(summary)})
        sink = io.BytesIO()
        with pa.ipc.new_file(
            sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as writer:
            writer.write_table(table)
        self.put(name, sink.getvalue())

    def get_table(self, name: str) -> pa.Table:
        """Read an Arrow table."""
        try:
            return pa.ipc.open_file(pa.BufferReader(self.get(name))).read_all()
        except pa.ArrowInvalid:
            raise StoreError(f"{self.url}: {name} is damaged; delete it and resume") from None

    def get_summary(self, name: str, kind: type[Record]) -> Record:
        """The record in the metadata of a table."""
        return summary_of(self.get_table(name), kind, f"{self.url}: {name}")

    # Arrays

    def put_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]], facts: str = "") -> None:
        """Write arrays of any shapes and lengths, and a text, as one row of an Arrow table.

        No .npz: numpy reads the header of each of its arrays with Python's parser, which is not safe in
        threads before Python 3.12 (CPython issue 106905).
        """
        shapes = {key: list(values.shape) for key, values in arrays.items()}
        columns = {}
        for key, values in arrays.items():
            flat = pa.array(np.ascontiguousarray(values).ravel())
            columns[key] = pa.LargeListArray.from_arrays(pa.array([0, len(flat)], pa.int64()), flat)
        described = json.dumps({"shapes": shapes, "facts": facts})
        self.put_table(name, pa.table(columns).replace_schema_metadata({"arrays": described}))

    def get_arrays(self, name: str) -> tuple[dict[str, NDArray[Any]], str]:
        """Read what `put_arrays` wrote."""
        table = self.get_table(name)
        about = json.loads(table.schema.metadata[b"arrays"])
        flat = {key: table[key].chunk(0).values.to_numpy(zero_copy_only=False) for key in about["shapes"]}
        return {key: flat[key].reshape(shape) for key, shape in about["shapes"].items()}, about["facts"]

    # Label maps

    def put_labels(self, name: str, labels: NDArray[np.int32], window: Window) -> None:
        """Write a label map as a small tiled GeoTIFF that any GIS can open.

        Args:
            name: file name in the run.
            labels: (H, W) int32.
            window: its place in the raster.
        """
        self.put(name, encode_labels(labels, window))

    def get_labels(self, name: str, window: Window | None = None) -> NDArray[np.int32]:
        """Read a label map or a window of it, decompressing only the blocks it touches.

        Returns:
            (window.height, window.width) int32.
        """
        return decode_labels(self.get(name), window)

    # Manifest

    def start(self, manifest: Manifest, *, resume: bool) -> bool:
        """Begin a run, or continue the one that is here; the manifest says from then on what is wanted now.

        Args:
            manifest: every entry of its `identity` must be equal to resume.
            resume: False discards what is here.

        Returns:
            True when an earlier run is continued.

        Raises:
            ResumeError: the run here was made from something else; the message names what differs.
        """
        if not resume and self.exists(MANIFEST_NAME):
            self.clean()
        continued = self.exists(MANIFEST_NAME)
        if continued:
            earlier = self.manifest()
            differences = changed(
                {"kind of run": earlier.kind, **earlier.identity},
                {"kind of run": manifest.kind, **manifest.identity},
            )
            if differences:
                raise ResumeError(
                    f"{self.url}: cannot resume, changed since: {', '.join(differences)}; "
                    "use --fresh to start over or another --run-dir"
                )
        self.put_record(MANIFEST_NAME, manifest)
        return continued

    def manifest(self) -> Manifest:
        """The manifest of the run that is here.

        Raises:
            StoreError: there is no run here, or one of another version.
        """
        if not self.exists(MANIFEST_NAME):
            raise StoreError(f"{self.url}: not a run directory (no {MANIFEST_NAME}); check the path")
        content = self.get_json(MANIFEST_NAME)
        version = content.get("format") if isinstance(content, dict) else None
        if version != FORMAT:
            raise ResumeError(f"{self.url}: written by another version of remotesam; use --fresh")
        return self.get_record(MANIFEST_NAME, Manifest)

    def clean(self) -> None:
        """Delete everything the run has written, and only that."""
        self.remove([MANIFEST_NAME, *all_content()])


def summary_of(table: pa.Table, kind: type[Record], name: str = "a table of the run") -> Record:
    """The record that `RunStore.put_table` put into the metadata of a table.

    Raises:
        StoreError: there is none.
    """
    return decode((table.schema.metadata or {}).get(SUMMARY_KEY, b""), kind, name)


def absolute(url: str) -> str:
    """A run directory's name as other processes know it: a relative local path is made absolute."""
    store = RunStore(url)
    return store.root if store.is_local else url


def changed(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two flat mappings, as `name (was → is)`."""
    return [
        f"{name} ({_short(earlier.get(name))} → {_short(now.get(name))})"
        for name in sorted({*earlier, *now})
        if earlier.get(name) != now.get(name)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 40 else f"{text[:18]}…{text[-18:]}"


def encode_labels(labels: NDArray[np.int32], window: Window) -> bytes:
    """A label map as the bytes of a tiled, Zstandard-compressed GeoTIFF.

    Its coordinates are raster pixels (y up and so negative), so tiles fit together in a GIS; one pixel to the
    right, because an origin of (0, 0) is taken for missing georeferencing and warned about at every read.
    """
    height, width = labels.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=height,
            width=width,
            count=1,
            dtype="int32",
            tiled=True,
            blockxsize=BLOCK,
            blockysize=BLOCK,
            compress="zstd",
            zstd_level=1,
            predictor=2,
            transform=Affine(1, 0, window.col + 1, 0, -1, -window.row),
        ) as dataset:
            dataset.write(labels, 1)
        return bytes(memory.read())


def decode_labels(content: bytes, window: Window | None = None) -> NDArray[np.int32]:
    """The label map in the bytes of a GeoTIFF, or a window of it."""
    part = None if window is None else RasterioWindow(window.col, window.row, window.width, window.height)
    try:
        with MemoryFile(content) as memory, memory.open() as dataset:
            return np.asarray(dataset.read(1, window=part))
    except rasterio.errors.RasterioError as error:
        raise StoreError(f"a label map of the run is damaged ({error}); run again with --fresh") from error
