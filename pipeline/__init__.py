"""Runs the stages, each a function from the products of earlier stages to its own.

``outfits/config/schema/stages.py`` lists them in their order. Every stage keeps its product under a key made from
everything it depends on, logs whether it computed or reused it, and resumes after a kill. It raises ArtifactError if
the product is missing and the stage was not asked for. All ranks call every stage.
"""

import warnings

warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # from the import of a dependency
