"""The user's own model: opened, traced, pruned in coupled groups of channels, and written node by node.

`source` opens a factory, a file of weights or a folder; `tracing`, `reading` and `steps` turn a convolutional network
into a list of steps; `traced` makes a deployable network of them; `groups` finds with Torch-Pruning which channels must
go together. Imports numpy and torch at module level, torch_pruning, safetensors and transformers inside the functions
that use them. A model that cannot be traced is not refused here: what opens it falls back to torch's own exporter.
"""
