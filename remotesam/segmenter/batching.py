"""One model for several threads: concurrent queries go to the device as one batch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from remotesam.segmenter.protocol import NetworkCalls, Proposals, Query, Segmenter


class SharedSegmenter:
    """A segmenter that several threads may call at once.

    Whichever thread finds the device free takes along every query that the others have handed in meanwhile.
    So tiles in different passes share one batch, and a late pass with few points does not leave the device
    half empty.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._device = threading.Lock()
        self._door = threading.Lock()
        self._waiting: list[tuple[Sequence[Query], Future[Sequence[Proposals]]]] = []

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._segmenter.name

    @property
    def digest(self) -> str:
        """SHA-256 of the checkpoint."""
        return self._segmenter.digest

    @property
    def image_size(self) -> int:
        """Side in px that chips are resized to."""
        return self._segmenter.image_size

    @property
    def device(self) -> str:
        """Where it computes."""
        return self._segmenter.device

    @property
    def network_calls(self) -> NetworkCalls:
        """Running totals of the work done."""
        return self._segmenter.network_calls

    def propose(self, queries: Sequence[Query]) -> Sequence[Proposals]:
        """The proposals for each query, in order; waits while the device is busy."""
        answer: Future[Sequence[Proposals]] = Future()
        with self._door:
            self._waiting.append((queries, answer))
        with self._device:
            if not answer.done():
                self._serve()
        return answer.result()

    def _serve(self) -> None:
        with self._door:
            batch, self._waiting = self._waiting, []
        try:
            proposals = self._segmenter.propose([query for queries, _ in batch for query in queries])
        except BaseException as error:  # noqa: BLE001 - handed on to every thread that waits for it
            for _, answer in batch:
                answer.set_exception(error)
            return
        start = 0
        for queries, answer in batch:
            answer.set_result(proposals[start : start + len(queries)])
            start += len(queries)
