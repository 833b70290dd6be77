"""Known networks, untrained: what a study of a user's model names as its source when the user brings none.

Each module follows the layout and the names of the library that made its network known, so that published weights
fit. Imports torch alone. A factory takes `classes`, `channels` and `image_size` (pixels of the shorter side).
"""
