"""The report: the differences from a base, as Markdown or as one HTML page."""
