"""Stage ``imaging``: models that make images of items, a file a model."""
