"""The report on similarity from parts."""
