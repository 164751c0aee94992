"""Prints the help of the entry points, generated from the schema so that no option is described twice."""

import textwrap
from pathlib import Path

from outfits.config.keys import SIGNS, Key, keys, may_change, sections
from outfits.config.recipes import CONFIGS, file_of, names_of, purpose_of
from outfits.config.schema import Config
from outfits.config.schema.complete import CompleteConfig
from outfits.config.schema.export import ExportCommand
from outfits.config.schema.serve import ServeCommand
from outfits.config.schema.stages import STAGES

WIDTH = 100

USAGE = {
    "train": """\
usage: python train.py [experiment=NAME] [SECTION=GROUP ...] [KEY=VALUE ...]
       python train.py resume=RUN_DIR [KEY=VALUE ...]

Trains a generator of outfit completions from nothing: embeddings, compatibility model, targets,
generator, test. Stages whose products exist are reused.

  python train.py                                              the built-in data set
  python train.py experiment=mango data.root=DIR               a recipe with one key changed
  python train.py data=tables encoder=minilm seed=1            groups picked by name
  python train.py experiment=my/recipe.yaml                    a recipe of your own
  python train.py experiment=RUN_DIR/config.yaml run_dir=DIR   an earlier run once more

A value is YAML: true, 3, 1e-3, null, [a,b]; put quotes around what your shell would read. Later
settings win: defaults, groups that the recipe includes, the recipe, groups of the command line,
keys of the command line.
""",
    "evaluate": """\
usage: python evaluate.py run=RUN_DIR [KEY=VALUE ...]

Completes outfits of a finished run's test split with every method and writes RUN_DIR/report. The
run's own configuration holds; only the keys below may change.

  python evaluate.py run=runs/synthetic-20260101-120000 evaluate.outfits=500
""",
    "complete": """\
usage: python complete.py run=RUN_DIR items=[ID,...] [KEY=VALUE ...]
       python complete.py run=RUN_DIR text=WORDS [KEY=VALUE ...]

Completes an outfit of catalogue items and garments of your own with any method, or generates an
outfit from a text, with the models of a finished run. Prints a table and writes an image.

  python complete.py run=RUN_DIR items=[12_1,12_3] k=2
  python complete.py run=RUN_DIR items=[12_1] "texts=['red shoes','']" categories=[[shoes],[bags]]
  python complete.py run=RUN_DIR 'garments=[{image: image.jpg, text: blue jeans, category: jeans}]'
  python complete.py run=RUN_DIR text='summer dress' max_items=4

A value is YAML: 3, 0.5, null, [a,b]; put quotes around what your shell would read.
""",
    "serve": """\
usage: python serve.py run=RUN_DIR [KEY=VALUE ...]

Serves a page around a finished run: put an outfit together from the catalogue, from photos or from a
text, have it completed, see which item is wrong. Nothing of a visitor is kept beyond the visit.

  python serve.py run=runs/synthetic-20260101-120000
  python serve.py run=RUN_DIR serve.port=8080
""",
    "export": """\
usage: outfits-export run=RUN_DIR folder=FOLDER [KEY=VALUE ...]
       python -m pipeline.export run=RUN_DIR folder=FOLDER [KEY=VALUE ...]

Writes what others need of a finished run into one folder: networks, configuration, the catalogue without
images, and a model card made from the report. Stylist.load, complete.py and serve.py take the folder as
they take a run, and its copy on the Hugging Face Hub as hf://ORG/NAME.

  outfits-export run=runs/synthetic-20260101-120000 folder=exported
  outfits-export run=RUN_DIR folder=FOLDER licence='CC BY 4.0' push=ORG/NAME
""",
}
SCHEMAS: dict[str, type] = {
    "train": Config,
    "evaluate": Config,
    "complete": CompleteConfig,
    "serve": ServeCommand,
    "export": ExportCommand,
}


def _default(key: Key) -> str:
    if isinstance(key.default, list):
        return f"[{', '.join(map(str, key.default))}]"
    if isinstance(key.default, bool) or key.default is None:
        return {True: "true", False: "false", None: "null"}[key.default]
    return str(key.default)


def _allowed(key: Key) -> str:
    """Describes type, bounds and choices of a key in a few words."""
    bounds = " and ".join(f"{SIGNS[sign]} {bound:g}" for sign, bound in key.bounds.items())
    choices = f"{'any' if key.is_list else 'one'} of {', '.join(map(str, key.choices))}" if key.choices else ""
    if key.is_list and bounds:
        bounds = f"each {bounds}"
    return "; ".join(part for part in (key.type_name, bounds, choices) if part)


def _entry(key: Key) -> str:
    head = textwrap.fill(f"{key.name} = {_default(key)}", WIDTH, initial_indent="  ", subsequent_indent="      ")
    text, indent = f"{key.help} ({_allowed(key)})", " " * 6
    body = textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return f"{head}\n{body}"


def _listed(name: str, purpose: str) -> str:
    return textwrap.fill(f"{name:<34} {purpose}", WIDTH, initial_indent="  ", subsequent_indent=" " * 37)


def _files(kind: str, call: str, configs: Path) -> list[str]:
    return [_listed(f"{call}={name}", purpose_of(file_of(kind, name, configs))) for name in names_of(kind, configs)]


def help_text(program: str = "train", configs: Path = CONFIGS) -> str:
    """Returns a program's help; that of ``evaluate`` lists only the keys that may change in a finished run."""
    schema = SCHEMAS[program]
    shown = keys(schema)
    if program == "evaluate":
        shown = {name: key for name, key in shown.items() if name == "run" or may_change(name, program)}
    tops = [name for name in sections(schema) if "." not in name]
    lines = [USAGE[program]]
    if program == "train":
        lines += ["Recipes", *_files("experiment", "experiment", configs), "", "Groups"]
        lines += [line for section in tops for line in _files(section, section, configs)]
        lines += ["", "Stages", *(_listed(stage.name, stage.help) for stage in STAGES.values()), ""]
    lines += ["Keys, with their defaults" + (" before any recipe" if schema is Config else "")]
    previous = None
    for name, key in shown.items():
        top = name.partition(".")[0] if "." in name else ""
        if top != previous:
            lines.append("")
        previous = top
        lines.append(_entry(key))
    return "\n".join(lines) + "\n"


def print_help(program: str = "train") -> None:
    """Prints a program's help to stdout."""
    print(help_text(program), end="")
