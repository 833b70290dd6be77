"""What is done to ONNX graphs that this platform did not write: clean, count, quantize and report on them."""
