"""The network, its ONNX export, the classifier that runs the export, and its self-test."""
