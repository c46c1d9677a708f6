"""Tools that several commands share: Git, DVC, GitHub, SageMaker, child processes."""
