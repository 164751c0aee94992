"""The stages of a run."""

STAGES = ("representation", "embeddings", "compatibility", "targets", "generator", "test")

MAIN_JOB = STAGES[1:]
"""The stages of a run that completes outfits; a representation is trained in a run of its own."""
