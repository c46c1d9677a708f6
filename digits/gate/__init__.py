"""Two sets of results in, a verdict out."""
