"""The registry: versions and their assignments to GTO stages, as Git tags."""
