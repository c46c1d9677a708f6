"""Draw images to learn from: a canvas, and strokes that people add to a digit."""
