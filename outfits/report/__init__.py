"""Reports the results of an evaluation as metrics, a table, plots and a page."""
