"""The report: what a change changes, as Markdown or as one HTML page."""
