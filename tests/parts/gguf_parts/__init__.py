"""What the tests of the gguf plugin share."""
