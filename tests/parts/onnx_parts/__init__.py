"""What the tests of the ONNX plugin share."""
