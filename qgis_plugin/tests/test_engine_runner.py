"""The runner against a process that misbehaves in every way seen in the field; no QGIS needed."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from remotesam_qgis.engine.locate import EngineError
from remotesam_qgis.engine.protocol import Job, setting_options
from remotesam_qgis.engine.runner import run
from remotesam_qgis.engine.session import Session

FAKE = Path(__file__).with_name("fake_engine.py")
posix_only = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def start(tmp_path, modes="", *, cancel_after=None, grace=0.4, **extra):
    """Run the fake engine; cancel after that many tiles."""
    events, log = [], []
    job = Job("segment", "t.tif", str(tmp_path / "out.gpkg"))
    outcome = run(
        [sys.executable, str(FAKE), *job.arguments()],
        env={**os.environ, "FAKE_ENGINE": modes, **extra},
        on_event=events.append,
        on_log=log.append,
        is_canceled=lambda: (
            cancel_after is not None and sum(event["event"] == "tile" for event in events) >= cancel_after
        ),
        grace=grace,
    )
    return outcome, events, log


def pid_of(events):
    return next(event["pid"] for event in events if event["event"] == "start")


def alive(pid):
    """False for a process that is gone, or dead and waiting for its parent to notice."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and ") Z " in state.read_text())


def wait_until_dead(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def test_a_normal_run_reports_every_tile_in_order(tmp_path):
    outcome, events, log = start(tmp_path)
    assert (outcome.status, outcome.returncode, outcome.partial) == ("done", 0, False)
    assert [event["done"] for event in events if event["event"] == "tile"] == [1, 2, 3, 4, 5, 6]
    assert outcome.features == 24
    assert outcome.output == str(tmp_path / "out.gpkg")
    assert any("--control" in line for line in log), "standard error is the log"


def test_cancel_by_the_word_keeps_finished_tiles(tmp_path):
    outcome, _, _ = start(tmp_path, "slow", cancel_after=2, grace=10)
    assert (outcome.status, outcome.returncode, outcome.partial) == ("cancelled", 3, True)
    assert 8 <= outcome.features < 24
    assert outcome.seconds < 5, "the word alone must be enough"


@posix_only
@pytest.mark.parametrize(
    ("modes", "signal_number"), [("slow,ignore_cancel", 15), ("slow,ignore_cancel,ignore_term", 9)]
)
def test_an_engine_deaf_to_the_word_is_terminated_then_killed(tmp_path, modes, signal_number):
    outcome, events, _ = start(tmp_path, modes, cancel_after=1, FAKE_TILES="100")
    assert outcome.status == "cancelled"
    assert outcome.returncode == -signal_number
    wait_until_dead(pid_of(events))


@posix_only
def test_a_grandchild_that_holds_the_pipe_neither_hangs_the_run_nor_survives(tmp_path):
    began = time.monotonic()
    outcome, events, _ = start(tmp_path, "grandchild")
    assert outcome.status == "done"
    assert time.monotonic() - began < 30, "the grandchild sleeps 120 s"
    wait_until_dead(events[0]["pid"])


@pytest.mark.parametrize("modes", ["garbage", "huge"])
def test_foreign_output_is_log_not_events(tmp_path, modes):
    outcome, events, log = start(tmp_path, modes)
    assert outcome.status == "done"
    assert sum(event["event"] == "tile" for event in events) == 6
    assert max(map(len, log)) <= 2000
    assert any(line.startswith(("Loading model", "zzz")) for line in log)


def test_a_crash_shows_the_last_words(tmp_path):
    outcome, events, _ = start(tmp_path, "crash")
    assert (outcome.status, outcome.returncode, outcome.partial) == ("failed", 17, True)
    assert "the reason of the crash" in outcome.message
    assert sum(event["event"] == "tile" for event in events) == 2


@posix_only
def test_a_kill_from_outside_is_explained_as_memory(tmp_path):
    outcome, _, _ = start(tmp_path, "kill_self")
    assert outcome.status == "failed"
    assert "memory" in outcome.message


def test_an_error_event_is_the_message(tmp_path):
    outcome, _, _ = start(tmp_path, "error")
    assert outcome.message == "t.tif: row 7 cannot be read. Repair the file."


def test_ending_without_a_result_is_a_failure(tmp_path):
    outcome, _, _ = start(tmp_path, "silent")
    assert outcome.status == "failed"
    assert "without a result" in outcome.message


def test_another_protocol_is_refused_and_the_process_stopped(tmp_path):
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"speaks protocol 0, .* uv tool upgrade remotesam"):
        start(tmp_path, "old_protocol,slow", FAKE_TILES="1000")
    assert time.monotonic() - began < 20


def test_a_missing_program_is_one_clear_sentence(tmp_path):
    with pytest.raises(EngineError, match="cannot be started"):
        run([str(tmp_path / "nothing")], env={}, on_event=print, on_log=print, is_canceled=lambda: False)


def test_callbacks_run_in_the_calling_thread(tmp_path):
    threads = set()
    run(
        [sys.executable, str(FAKE), *Job("segment", "t.tif", str(tmp_path / "o.gpkg")).arguments()],
        env=os.environ,
        on_event=lambda _: threads.add(threading.get_ident()),
        on_log=lambda _: threads.add(threading.get_ident()),
        is_canceled=lambda: False,
    )
    assert threads == {threading.get_ident()}


@posix_only
def test_the_engine_ends_when_its_parent_dies(tmp_path):
    """What happens when QGIS crashes: the end of the engine's input is a cancel."""
    code = (
        "import os, subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=-1, start_new_session=True)\n"
        "print(p.pid, flush=True); time.sleep(0.7); os.kill(os.getpid(), 9)\n"
    )
    job = Job("segment", "t.tif", str(tmp_path / "o.gpkg"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(FAKE), *job.arguments()],
        stdout=subprocess.PIPE,
        env={**os.environ, "FAKE_ENGINE": "slow", "FAKE_TILES": "1000"},
        timeout=60,
        check=False,
    )
    pid = int(done.stdout.split()[0])
    assert b'"cancelled"' in done.stdout
    wait_until_dead(pid)


def test_settings_become_options():
    settings = {
        "tile_size": 512,
        "black_paint": False,
        "resume": True,
        "bands": [4, 1, 2],
        "max_passes": None,
    }
    assert setting_options(settings) == [
        "--tile-size", "512", "--no-black-paint", "--resume", "--bands", "4,1,2",
    ]  # fmt: skip


def test_a_job_quotes_nothing_and_keeps_full_precision():
    job = Job("segment", "a b.tif", "c d.gpkg", extent=(1.1, 2, 3, 4.123456789012345))
    words = job.arguments()
    assert words[:4] == ["segment", "a b.tif", "--output", "c d.gpkg"]
    assert words[words.index("--aoi") + 1] == "1.1,2.0,3.0,4.123456789012345"


def test_a_session_answers_in_order_and_ends_with_its_input():
    replies, ends, arrived = [], [], threading.Condition()

    def on_reply(reply):
        with arrived:
            replies.append(reply)
            arrived.notify()

    session = Session(
        [sys.executable, str(FAKE), "serve"], os.environ, on_reply=on_reply, on_log=print, on_end=ends.append
    )
    numbers = [session.request("predict", points=[[500001.5, 2.5]], labels=[i]) for i in range(3)]
    with arrived:
        assert arrived.wait_for(lambda: len(replies) == 3, timeout=20)
    assert [reply["id"] for reply in replies] == numbers
    assert replies[2]["echo"]["labels"] == [2]
    session.close()
    session.close()
    assert not session.alive
    with pytest.raises(EngineError, match="closed"):
        session.request("predict")


def test_a_crashed_session_says_so():
    ended = threading.Event()
    codes = []

    def on_end(code):
        codes.append(code)
        ended.set()

    session = Session(
        [sys.executable, str(FAKE), "serve"], os.environ, on_reply=print, on_log=print, on_end=on_end
    )
    session.request("crash")
    assert ended.wait(20)
    assert codes == [9]
    with pytest.raises(EngineError, match="stopped"):
        session.request("predict")
    session.close()
