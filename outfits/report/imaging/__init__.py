"""The report of a model that makes images."""
