"""The report on personal recommendation."""
