"""The bundle: the very file that was timed, with everything needed to check its numbers and to run it.

May import what stands below (views excepted). A bundle is a folder of plain files that needs nothing of this library
to run: `predict.py` uses onnxruntime and numpy only. `verify_bundle` reproduces both numbers, accuracy and latency,
and can fail; the control that latencies were held against is shipped, because milliseconds alone are not comparable
between two days.
"""
