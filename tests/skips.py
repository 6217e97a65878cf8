"""A skip is a pass nobody looks at: in CI, where everything a test needs can be installed, it is a failure.

Both suites import the two hooks into their conftest.py, so that every way to skip is covered:
`importorskip`, `skipif`, `pytest.skip`, and what is written tomorrow.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}


class BeyondInstalling(pytest.skip.Exception):
    """What no install step can put there, a privilege or data that are not public: skips in CI too."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped in CI. An expected failure is not a skip."""
    report = yield
    allowed = call.excinfo is not None and isinstance(call.excinfo.value, BeyondInstalling)
    if IN_CI and report.skipped and not allowed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped, and CI skips nothing: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that was skipped in CI."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: skipped, and CI skips nothing: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> object:
    return longrepr[2] if isinstance(longrepr, tuple) else longrepr
