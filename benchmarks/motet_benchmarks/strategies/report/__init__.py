"""The report of a run: one page of HTML, its summary in Markdown, and all figures in JSON."""
