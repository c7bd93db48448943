"""What all tests share: one thread a process, the plain closing line, no silent skips in CI."""

import io
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two tests run at a time, each on its own core

import coverage
import pytest

PHASES = ("passed", "failed", "error", "skipped")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skipped test is a failed one, unless it is skipped for want of a GPU."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if "GPU" not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped in CI: {reason}"


def pytest_unconfigure(config):
    """Print the coverage and close with `N passed, N failed`."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput") or config.option.collectonly:
        return
    count = {phase: len(reporter.stats.get(phase, ())) for phase in PHASES}
    if not config.option.no_cov:
        measured = coverage.Coverage(config_file=str(config.rootpath / ".coveragerc"))
        measured.load()
        print(f"coverage of fusion_nb: {measured.report(file=io.StringIO()):.0f} %")
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(f"{count['passed']} passed, {count['failed'] + count['error']} failed{skipped}")
