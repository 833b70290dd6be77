"""Compression that changes the file: channels that are really removed, weights and activations in fewer bits.

Imports numpy and torch at module level, onnxruntime inside the function that calibrates. Nothing here masks or
simulates: pruning returns a smaller network, quantization returns the ranges that the exported graph is written with.
"""
