"""Writes the pages that are made from the code: command line, configuration, metrics, events, kinds, names, benchmarks.

Run: python docs/generate.py
"""

from __future__ import annotations

from pathlib import Path

from _generate.api import home, kinds_page, names_page
from _generate.benchmarks import benchmarks_page, copy_figures
from _generate.cli import cli_page
from _generate.configuration import configuration_page
from _generate.events import events_page
from _generate.metrics import metrics_page

DOCS = Path(__file__).parent
PAGES = {
    "reference/cli.md": cli_page,
    "reference/configuration.md": configuration_page,
    "reference/metrics.md": metrics_page,
    "reference/events.md": events_page,
    "reference/kinds.md": kinds_page,
    "reference/fdiv_gym.md": names_page,
    "benchmarks.md": benchmarks_page,
}

__all__ = ["PAGES", "home", "main"]


def main() -> None:
    """Write every page and the figures of the benchmarks."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
    copy_figures(DOCS)


if __name__ == "__main__":
    main()
