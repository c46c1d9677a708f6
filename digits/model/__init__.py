"""The network, its ONNX export, the classifier that runs it, and the self-test."""
