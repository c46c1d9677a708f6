"""The commands around the pipeline, one module each. They act on Git, DVC and processes."""
