"""The base of every package: errors, files, parameters, command line, workers, array types."""
