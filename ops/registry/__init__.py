"""The registry: promote, roll back, and the history of both."""
