"""The report: what has changed, as Markdown or as one HTML page."""
