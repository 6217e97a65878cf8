"""Protocol 1 over real pipes and real processes."""

import io
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from remotesam.events import MAX_LINE_BYTES, EventWriter, encode, read_lines, watch_control


def run_python(code: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=60, check=False, **kwargs
    )


def test_values_survive_the_trip_and_non_finite_numbers_become_null():
    fields = {
        "path": Path("out put.gpkg"),
        "n": np.int64(7),
        "bbox": np.array([1.5, np.nan]),
        "eta_s": float("inf"),
    }
    text = "zwei\nZeilen ä"
    line = encode({"event": "tile", **fields, "text": text})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "event": "tile", "path": "out put.gpkg", "n": 7, "bbox": [1.5, None], "eta_s": None, "text": text,
    }  # fmt: skip


def test_a_value_without_json_form_is_an_error():
    with pytest.raises(TypeError):
        encode({"event": "tile", "what": object()})


def test_lines_of_many_threads_are_never_interleaved():
    stream = io.BytesIO()
    writer = EventWriter(stream)
    threads = [
        threading.Thread(target=lambda i=i: [writer.write("tile", who=i, pad="x" * 500) for _ in range(50)])
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sorted(event["who"] for event in events) == sorted(list(range(8)) * 50)


def test_prints_of_python_and_of_child_processes_stay_out_of_the_protocol():
    result = run_python("""
        import os, subprocess, sys
        from remotesam.events import EventWriter, protocol_stdout
        with protocol_stdout() as stream:
            writer = EventWriter(stream)
            print("library chatter")
            os.write(1, b"C library chatter\\n")
            subprocess.run([sys.executable, "-c", "print('child chatter')"])
            writer.write("done", features=3)
        print("after")
    """)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert json.loads(first) == {"event": "done", "features": 3}
    assert second == b"after"
    for chatter in (b"library chatter", b"C library chatter", b"child chatter"):
        assert chatter in result.stderr


def test_a_reader_that_goes_away_is_reported_once_and_does_not_raise():
    read_end, write_end = os.pipe()
    calls = []
    with os.fdopen(write_end, "wb") as stream:
        writer = EventWriter(stream, on_reader_gone=lambda: calls.append(1))
        writer.write("start")
        os.close(read_end)
        writer.write("tile")
        writer.write("tile")
        stream.raw.close()  # what is buffered cannot be delivered any more
    assert calls == [1]


def test_lines_are_reassembled_from_any_blocks_and_oversized_ones_dropped():
    read_end, write_end = os.pipe()
    long_line = b"x" * (MAX_LINE_BYTES + 5)

    def feed() -> None:
        for block in (
            b"fir",
            b"st\nsecond\r\n",
            long_line,
            b" tail of the long line\n",
            b"third\nunfinished",
        ):
            with os.fdopen(os.dup(write_end), "wb") as stream:  # writes all of a long block
                stream.write(block)
        os.close(write_end)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert list(read_lines(read_end)) == [b"first", b"second", b"third"]
    feeder.join()
    os.close(read_end)


@pytest.mark.parametrize("ending", ["word", "eof", "closed stdin"])
def test_cancel_by_word_by_end_of_input_and_by_a_closed_input(ending):
    read_end, write_end = os.pipe()
    cancel = threading.Event()
    if ending == "closed stdin":
        os.close(read_end)
    thread = watch_control(cancel, read_end)
    if ending != "closed stdin":
        os.write(write_end, b"status?\n")
        assert not cancel.wait(0.1), "only the word cancel may stop a run"
        os.write(write_end, b"cancel\n") if ending == "word" else os.close(write_end)
    assert cancel.wait(10)
    thread.join(10)
    assert not thread.is_alive()


def test_a_waiting_watcher_does_not_disturb_the_end_of_the_process():
    code = """
        import threading
        from remotesam.events import watch_control
        watch_control(threading.Event())
        print("finished")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.wait(60) == 0  # stdin is still open here
        assert process.stdout.read().strip() == b"finished"
        assert process.stderr.read() == b""


def test_the_module_needs_the_standard_library_only():
    result = run_python("""
        import sys
        import remotesam.events
        heavy = {"numpy", "torch", "rasterio", "click", "shapely"} & set(sys.modules)
        assert not heavy, heavy
    """)
    assert result.returncode == 0, result.stderr
