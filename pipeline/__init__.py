"""The stages of runs, each a function from what stages before it left to what later ones need.

Which there are, and in which order they run, is written in ``outfits/config/schema/stages.py``. Every stage keeps its
product under a key made from everything it depends on, logs whether it computed or reused it, and goes on where a
killed run stopped. All ranks call every stage.
"""

import warnings

warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # a dependency, while it is imported
