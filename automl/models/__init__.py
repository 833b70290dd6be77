"""Networks: one table from operation name to torch module and ONNX emitter, cells, the network, and its ONNX file.

Imports numpy and torch at module level, onnx inside the one function that serialises. The graph is written
directly rather than traced: it takes milliseconds instead of seconds, and the untrained file that is timed has
the same graph as the trained file that is deployed.
"""
