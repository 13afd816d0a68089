"""What all tests share."""

from __future__ import annotations

from collections import Counter

import pytest

LACKING = pytest.StashKey[str]()
NOT_TESTED = "not tested here"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="A skipped test fails: this machine must run all, but for what needs a program that "
        "neither Debian nor PyPI has.",
    )


@pytest.hookimpl(tryfirst=True)  # before the fixtures, which may need the programs too
def pytest_runtest_setup(item: pytest.Item) -> None:
    from deployer.tools import terraform
    from e2e.hosts import plugins

    if item.get_closest_marker("terraform") and terraform.find() is None:
        _lacks(item, terraform.missing())
    if item.get_closest_marker("aws_plugin") and plugins.aws_mirror() is None:
        _lacks(item, plugins.MISSING)


def _lacks(item: pytest.Item, reason: str) -> None:
    item.stash[LACKING] = reason
    pytest.skip(reason)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    outcome = yield
    report = outcome.get_result()
    if not report.skipped:
        return
    if reason := item.stash.get(LACKING, None):
        report.user_properties.append((NOT_TESTED, reason))
    elif item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    lacking = Counter(dict(report.user_properties).get(NOT_TESTED) for report in skipped)
    for reason, count in lacking.items():
        if reason:
            tests = f"{count} test{'' if count == 1 else 's'}"
            terminalreporter.write_line(f"{NOT_TESTED}: {tests}: {reason}", yellow=True)
