"""Batch inference: many images in, one table out."""
