"""The stages of the main job, each a function from what the stages before it left to what the next one needs.

Every stage keeps its product under a key made from everything it depends on, says whether it computed or reused it, and
goes on where a killed run stopped. All ranks call every stage.
"""

import warnings

warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # a dependency, while it is imported
