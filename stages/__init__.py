"""The pipeline: one script a stage, a pure function from files to files."""
