"""A web server with byte ranges, which Python's own lacks; run as `python -m tests.range_server FOLDER`.

It must be a process of its own: GDAL waits for answers while rasterio holds the interpreter lock. Prints its
address. `POST /break/N` makes the next N answers of more than 1000 bytes stop in the middle, as on a lost
connection; `GET /broken` tells how many are still to come.
"""

from __future__ import annotations

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Serves the files of one folder."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    breaks = 0

    def do_POST(self) -> None:
        Handler.breaks = int(self.path.rsplit("/", 1)[1])
        self.reply(200, b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        file = self.folder / self.path.lstrip("/")
        if self.path == "/broken":
            self.reply(200, str(Handler.breaks).encode())
        elif file.is_file():
            self.serve(file)
        else:
            self.reply(404, b"")

    def serve(self, file: Path) -> None:
        data = file.read_bytes()
        tag = {"ETag": f'"{file.stat().st_mtime_ns}"', "Accept-Ranges": "bytes"}
        ranged = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not ranged:
            self.reply(200, data, tag)
            return
        start, stop = int(ranged[1]), min(int(ranged[2] or len(data)) + 1, len(data))
        self.reply(206, data[start:stop], tag | {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if Handler.breaks and len(body) > 1000:
            Handler.breaks -= 1
            self.close_connection = True
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Stay quiet."""


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
