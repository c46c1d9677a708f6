"""Tools that several commands share: Git, DVC, SageMaker, child processes."""
