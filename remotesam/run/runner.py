"""The skeleton of every run: who works, what is left of a stage, how it is followed, what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remotesam._version import __version__
from remotesam.config import Settings, as_dict, stage_settings
from remotesam.errors import FATAL, Cancelled, ConfigError, InputError, RemotesamError, TileError
from remotesam.events import (
    ClusterReady,
    Listener,
    ModelLoaded,
    Pace,
    StageBegan,
    Started,
    StepDone,
    UnitDone,
    Warned,
    eta,
    tell,
)
from remotesam.run.executors import Executor, Outcome, SerialExecutor, Task, ThreadExecutor
from remotesam.run.gpus import visible_gpus
from remotesam.run.job import Job, WorkerContext
from remotesam.run.layout import (
    INPUTS_NAME,
    STAGES,
    content_after,
    failure_name,
    segments_name,
)
from remotesam.run.options import RunOptions
from remotesam.run.records import Manifest, UnitFailure, UnitSummary
from remotesam.run.store import RunStore
from remotesam.segmenter import checkpoints

if TYPE_CHECKING:
    from distributed import Client

THREADS = 3
"""Threads of a run in one process: one unit on the device while others are read, painted and written."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Who works on a run and who is told."""

    executor: Executor
    """Runs the tasks."""
    cancel: threading.Event
    """Set by the user."""
    listener: Listener
    """Is told what happens."""

    def begin(self, stage: str, total: int | None = None, unit: str | None = None) -> None:
        """Tell that a stage begins."""
        title = STAGES[stage].title
        tell(self.listener, StageBegan(name=stage, title=f"{title} {unit}s" if unit else title, total=total))


@dataclass(frozen=True, slots=True)
class ModelMark:
    """A model as a run knows it again."""

    name: str
    """Name that people know it by."""
    digest: str
    """SHA-256 of its file, or what a model of the caller's own gives for it."""

    @classmethod
    def of(cls, config: Settings, options: RunOptions) -> ModelMark:
        """The model that a run will use.

        Raises:
            RemotesamError: its file is not here.
        """
        if options.segmenter is not None:
            return cls(options.segmenter.name, options.segmenter.digest)
        name, path = checkpoints.locate(config.model)
        return cls(name or path.name, checkpoints.file_digest(path))


def start_run(
    job: Job,
    model: ModelMark,
    options: RunOptions,
    *,
    outputs: dict[str, Any],
    units: dict[str, int],
    identity: dict[str, Any],
) -> None:
    """Begin a run, or continue the one in its directory.

    Args:
        job: the run.
        model: its model.
        options: whether to resume.
        outputs: files to write by the names of this kind of run; "polygons" is the main one.
        units: units of each run directory in it, see `Manifest.units`.
        identity: what must be equal to resume, besides the raster, the model and the settings of the first
            stage.

    Raises:
        ResumeError: the run there was made from something else.
    """
    spec = job.raster.spec
    manifest = Manifest(
        remotesam=__version__,
        kind=job.kind,
        source=spec.path,
        units=units,
        outputs=outputs,
        config=as_dict(job.config),
        identity={
            "raster": spec.identity,
            "area": spec.area,
            **identity,
            **stage_settings(job.config, "tiles"),
            "model": f"{model.name} {model.digest[:16]}",
        },
    )
    RunStore(job.run_url).start(manifest, resume=options.resume)


def announce(job: Job, model: ModelMark, options: RunOptions, live: str | None = None) -> None:
    """Tell the listener of a run that has begun.

    Args:
        job: the run.
        model: its model.
        options: who is told.
        live: a growing file of provisional polygons.
    """
    manifest = RunStore(job.run_url).manifest()
    tell(
        options.listener,
        Started(
            kind=job.kind,
            unit=job.unit,
            tiles=sum(manifest.units.values()),
            model=model.name,
            output=manifest.outputs["polygons"],
            live=live,
            crs=job.raster.spec.crs,
            run_dir=job.run_url,
        ),
    )


@contextmanager
def runner_for(
    job: Job, options: RunOptions, wanted: Client | str | None, *, model: bool = True
) -> Iterator[Runner]:
    """The executor that was asked for, closed in the end.

    Args:
        job: what to work on.
        options: segmenter, cancel and listener.
        wanted: see `connect`.
        model: False when no unit is going to be segmented.
    """
    with connect(job.config, wanted) as client:
        executor: Executor
        runner: Runner
        if isinstance(client, str):
            context = WorkerContext(job, options.segmenter, options.cancel)
            executor = SerialExecutor(context) if client == "serial" else ThreadExecutor(context, THREADS)
            runner = Runner(executor, options.cancel, options.listener)
            if model and len(RunStore(job.run_url).finished("tiles")) < job.units:
                runner.begin("load_model")
                # Asked for now: a missing model must end the run here, not every unit on its own.
                segmenter = context.segmenter
                tell(options.listener, ModelLoaded(name=segmenter.name, device=segmenter.device))
        else:
            from remotesam.run.cluster import DaskExecutor

            executor = DaskExecutor(client, job, options.segmenter if model else None)
            runner = Runner(executor, options.cancel, options.listener)
            if model:
                ready = ClusterReady(dashboard=client.dashboard_link, workers=executor.workers)
                tell(options.listener, ready)
        try:
            yield runner
        finally:
            executor.close()


@contextmanager
def connect(config: Settings, wanted: Client | str | None) -> Iterator[Client | str]:
    """Where the runners of one run work: a Dask client, "threads" or "serial".

    A cluster is started, or connected to, once for all stages and scales, and left in the end.

    Args:
        config: settings `workers`, `scheduler` and `device`.
        wanted: a Dask client, which stays open; "dask", "threads" or "serial"; None chooses by the settings:
            this thread alone for one worker, for `auto` threads of this process unless there are several
            GPUs, else processes under Dask.

    Raises:
        ConfigError: Dask is asked for and not installed.
        ClusterError: the scheduler does not answer.
    """
    wanted = wanted or _choice(config)
    if wanted == "dask":
        with _cluster(config) as client:
            yield client
    else:
        yield wanted


def _choice(config: Settings) -> str:
    """Where a run works when its caller leaves that to the settings."""
    if config.scheduler is not None or config.workers not in ("auto", "1"):
        return "dask"
    if config.workers == "1":
        return "serial"
    return "dask" if config.device == "auto" and len(visible_gpus()) > 1 else "threads"


def _cluster(config: Settings) -> AbstractContextManager[Client]:
    """A client of a running cluster, or of one of our own."""
    try:
        from remotesam.run.cluster import local_cluster, running_cluster
    except ImportError as error:
        raise ConfigError(
            f"workers: Dask cannot be imported ({error}); pip install 'remotesam[dask]' or use --workers 1"
        ) from None
    return running_cluster(config.scheduler) if config.scheduler else local_cluster(config.workers)


def segment_units(
    job: Job, runner: Runner, task: Task, *, on_finished: Callable[[int], None] = lambda _: None
) -> dict[int, UnitSummary]:
    """The first stage of every run: segment the units that are not finished.

    Args:
        job: the run.
        runner: who works and who is told.
        task: `remotesam.tiles.task.segment_unit`.
        on_finished: called with the number of each unit that is segmented now.

    Returns:
        The summary of every finished unit by its number; failed units are missing.

    Raises:
        InputError: the raster holds no data.
        TileError: not one unit could be segmented.
        RemotesamError: one of `FATAL`, at once.
        Cancelled: the user stopped; finished units are kept.
    """
    store, total = RunStore(job.run_url), job.units
    finished = sorted(store.finished("tiles"))
    summaries = {i: store.get_summary(segments_name(i), UnitSummary) for i in finished}
    left = [index for index in range(total) if index not in summaries]
    valid = sum(summary.valid for summary in summaries.values())
    covered = sum(summary.covered for summary in summaries.values())
    committed = sum(summary.segments for summary in summaries.values())
    pace = Pace()

    def on_outcome(outcome: Outcome, done: int, seconds: float | None) -> None:
        nonlocal valid, covered, committed
        segments = 0
        if outcome.error is not None:
            tell(runner.listener, Warned(code="tile_failed", message=str(outcome.error)))
            if not store.exists(failure_name(outcome.index)):
                failure = UnitFailure(unit=outcome.index, error=str(outcome.error))
                store.put_record(failure_name(outcome.index), failure)
        else:
            summary: UnitSummary = outcome.summary
            summaries[outcome.index] = summary
            segments = summary.segments
            valid, covered = valid + summary.valid, covered + summary.covered
            committed += segments
            on_finished(outcome.index)
        tell(
            runner.listener,
            UnitDone(
                done=done,
                total=total,
                index=outcome.index,
                segments=segments,
                committed=committed,
                coverage=covered / valid if valid else None,
                eta_s=seconds,
                bbox=job.bbox(outcome.index),
                worker=outcome.worker,
                worker_rate=pace.count(outcome.worker),
            ),
        )

    failed = run_stage("tiles", task, left, total, runner, unit=job.unit, on_outcome=on_outcome)
    if not summaries and failed:
        raise TileError(f"every {job.unit} failed; the first because {failed[0].error}") from failed[0].error
    if not valid:
        raise InputError(
            f"{job.raster.spec.path}: holds no valid pixel; check the nodata value, the area and the mask"
        )
    return summaries


def run_stage(
    name: str,
    task: Task,
    todo: Iterable[int],
    total: int,
    runner: Runner,
    *,
    unit: str | None = None,
    on_outcome: Callable[[Outcome, int, float | None], None] | None = None,
) -> list[Outcome]:
    """Run a task over the units that are left and tell the listener.

    Args:
        name: of the stage.
        task: what to do with each unit.
        todo: units left.
        total: units of the stage, finished ones included.
        runner: who works and who is told.
        unit: what people call the units, where the title should say it.
        on_outcome: called with each outcome, the number of finished units and the seconds left, instead of
            the plain "step" event.

    Returns:
        The failures.

    Raises:
        Cancelled: the user stopped the stage; what is finished is on disk.
        RemotesamError: one of `FATAL`, at once: the other units would meet it too.
    """
    left = list(todo)
    runner.begin(name, total, unit)
    started, before = time.perf_counter(), total - len(left)
    failures = []
    done = before
    for outcome in runner.executor.run(task, left, runner.cancel):
        if isinstance(outcome.error, FATAL):
            raise outcome.error
        if outcome.error is not None:
            failures.append(outcome)
        done += 1
        seconds = eta(done - before, len(left), time.perf_counter() - started)
        if on_outcome is not None:
            on_outcome(outcome, done, seconds)
        else:
            tell(runner.listener, StepDone(done=done, total=total, eta_s=seconds))
    if done < total and runner.cancel.is_set():
        raise Cancelled(f"cancelled after {done} of {total}; run again to continue")
    return failures


def each_unit(job: Job, runner: Runner, stage: str, task: Task, folder: str | None = None) -> None:
    """Run a task over the units of a stage that are not finished.

    Args:
        job: the run.
        runner: who works and who is told.
        stage: its name in the table of stages.
        task: writes a file for each unit.
        folder: where its files lie; default is the stage's.

    Raises:
        RemotesamError: a unit failed; stages after the first have no use for partial results.
    """
    about = STAGES[stage]
    finished = RunStore(job.run_url).finished(folder or about.content[0], about.suffix)
    left = [index for index in range(job.units) if index not in finished]
    must_succeed(run_stage(stage, task, left, job.units, runner), stage)


def must_succeed(failures: list[Outcome], stage: str) -> None:
    """Turn the first failure of a stage that has no use for partial results into the run's error.

    Raises:
        RemotesamError: a task failed.
    """
    for failure in failures:
        if isinstance(failure.error, RemotesamError):
            raise failure.error
        raise RemotesamError(
            f"{stage} of unit {failure.index} failed ({type(failure.error).__name__}: {failure.error}); "
            "run again to continue from here"
        ) from failure.error


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the block's wall time to the stage's seconds."""
    started = time.perf_counter()
    yield
    seconds[stage] = round(seconds.get(stage, 0.0) + time.perf_counter() - started, 3)


def discard_if_changed(store: RunStore, stage: str, inputs: dict[str, Any]) -> None:
    """Throw away what a stage and those after it wrote from other settings or other units.

    Args:
        store: the run.
        stage: whose inputs are compared.
        inputs: JSON-ready; what the stage is about to work from.
    """
    earlier = store.get_json(INPUTS_NAME) if store.exists(INPUTS_NAME) else {}
    if earlier.get(stage) != inputs:
        store.remove(content_after(stage))
        store.put_json(INPUTS_NAME, {**earlier, stage: inputs})
