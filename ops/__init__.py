"""What happens around the pipeline, one script an operation: effects on Git, DVC, processes."""
