"""The report of a run: one page of HTML, its summary in Markdown, and all figures in JSON."""

from motet_benchmarks.strategies.report.writing import write

__all__ = ["write"]
