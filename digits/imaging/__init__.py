"""Turn any image file or array into a model's input."""
