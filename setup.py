"""Where the wheel finds its packages; everything else about the project stands in pyproject.toml.

That file can either find packages or name them, and two folders of the wheel are made of what lies at the top level:
the recipes become ``outfits/configs``, the programs ``pipeline/programs``. At the top level of an environment they
would meet others of their names: ``evaluate`` is a package that many have.
"""

from setuptools import find_packages, setup

FOUND = ["outfits*", "pipeline*", "lightning_modules*", "datamodules*", "callbacks*"]

setup(
    packages=[*find_packages(include=FOUND), "outfits.configs"],
    py_modules=[f"pipeline.programs.{name}" for name in ("train", "evaluate", "complete", "serve")],
    package_dir={"outfits.configs": "configs", "pipeline.programs": "."},
    package_data={"outfits.configs": ["*/*.yaml"], "outfits.report": ["templates/*"]},
)
