"""One script a version; `automl.storage.schema` runs them."""
