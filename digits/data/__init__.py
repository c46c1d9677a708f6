"""Data sets: their sources, their files on disk, and the images that people label later."""
