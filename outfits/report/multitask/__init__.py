"""Reports the multi-task model."""
