"""Metrics of a model on the test images, and the plots and the model card that show them."""
