"""Data sets: where they come from, how they lie on disk, and the labels that people correct."""
