"""The training engine: the same bytes on any number of workers and processes."""
