"""Lists a schema's keys by full name, for merging, checking and help."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache, cached_property
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic import Field as Constraint

from outfits.config.schema import Config
from outfits.naming import did_you_mean, suggestion

TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    list[int]: "a list of whole numbers",
    list[float]: "a list of numbers",
    list[str]: "a list of texts",
    list[Any]: "a list",
    Any: "of several types",
}
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}

# Keys that may change once a run's data, models and targets exist; an entry that ends in a dot is a whole section.
_EVERYWHERE = (
    "trainer.", "wandb.", "cache_dir", "data.root", "data.num_workers", "encoder.num_workers", "engine", "ray.",
    "targets.states",
)  # fmt: skip
CHANGEABLE = {"train": ("stages", *_EVERYWHERE), "evaluate": ("evaluate.", "index.", "plugins", *_EVERYWHERE)}

# Other spellings of a key: encoder.image is a text and cannot have keys below it.
ALIASES = {"encoder.image.run": "encoder.learned.run"}

# Keys of older versions and their present names.
RENAMED = {
    "own": "garments",
    "encoder.backdrop": "encoder.background",
    "targets.wishes": "targets.conditions",
    "evaluate.wishes": "evaluate.conditions",
    "evaluate.wish_methods": "evaluate.condition_methods",
    "evaluate.rerank_candidates": "evaluate.generator_rerank.candidates",
    "evaluate.representation.pictures": "evaluate.representation.images",
    "model.representation.side": "model.representation.image_size",
    "model.representation.code_dim": "model.representation.latent_dim",
    "model.representation.backdrop": "model.representation.background",
    "model.representation.backdrop_weight": "model.representation.background_weight",
    "model.representation.varied": "model.representation.augmented",
    "model.representation.varied.flip": "model.representation.augmented.flip",
    "model.representation.varied.shift": "model.representation.augmented.translate",
    "model.representation.varied.light": "model.representation.augmented.brightness",
}


@dataclass(frozen=True)
class Key:
    """One configuration key; ``default``, ``help``, ``choices``, ``check`` and ``unwritten`` as of
    :func:`outfits.config.fields.key`.

    Attributes:
        name: full key, as in ``scorer.width``.
        kind: its type without null, as in ``int`` or ``list[str]``; ``Any`` for a key of several types.
        optional: whether null is allowed.
        bounds: smallest and largest numbers by pydantic's names, as in ``{"ge": 1}``; of a list key for its elements.
    """

    name: str
    kind: Any
    optional: bool
    default: Any
    help: str = ""
    bounds: dict[str, float] = field(default_factory=dict)
    choices: Collection[Any] | None = None
    check: Callable[[Any], Any] | None = None
    unwritten: bool = False

    @property
    def is_list(self) -> bool:
        """Tells whether the key takes a list."""
        return get_origin(self.kind) is list

    @property
    def element(self) -> Any:
        """Type of a list key's elements, of any other key its own type."""
        return get_args(self.kind)[0] if self.is_list else self.kind

    @property
    def type_name(self) -> str:
        """The type in words, for messages and help."""
        return TYPE_NAMES.get(self.kind, str(self.kind)) + " or null" * self.optional

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        bounds: dict[str, Any] = dict(self.bounds)
        element: Any = Annotated[self.element, Constraint(**bounds)]
        if self.choices is not None:
            element = Annotated[element, AfterValidator(self._chosen)]
        whole: Any = list[element] if self.is_list else element
        if self.check is not None:
            whole = Annotated[whole, AfterValidator(self.check)]
        # strict, except that a text may come from another key's number, as in wandb.name=${seed}
        strict = self.element is not str
        return TypeAdapter(whole, config=ConfigDict(strict=strict, coerce_numbers_to_str=True, allow_inf_nan=False))

    def _chosen(self, value: Any) -> Any:
        choices = list(self.choices or ())
        if value in choices:
            return value
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise ValueError(f"{value!r} is not one of {', '.join(map(str, choices))}{hint}")

    def validate(self, value: Any) -> Any:
        """Returns the value in the key's type; ValueError gives the reason why the key cannot have it."""
        if value is None and self.optional:
            return None
        if value is None:
            raise ValueError("needs a value; null is not allowed")
        # A number in quotes or from an environment variable comes as a text.
        as_text = isinstance(value, str) and self.kind in (bool, int, float)
        try:
            return self._adapter.validate_strings(value) if as_text else self._adapter.validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
        kind, context = problem["type"], problem.get("ctx", {})
        place = f"element {problem['loc'][0]}: " if problem["loc"] else ""
        if kind == "value_error":
            raise ValueError(f"{place}{context['error']}")
        if kind == "finite_number":
            raise ValueError(f"{place}{problem['input']} is not a finite number")
        if kind.startswith(("greater_than", "less_than")):
            ((sign, bound),) = context.items()
            number = self.element(problem["input"])
            raise ValueError(f"{place}{number!r} is out of range: must be {SIGNS[sign]} {bound:g}")
        shown = f", as in {self.name}=[{value}]" if kind == "list_type" else f", not {value!r}"
        raise ValueError(f"expected {self.type_name}{shown}")


def _walk(section: Any, prefix: str) -> Iterator[tuple[str, Key | None]]:
    hints = get_type_hints(section)
    for part in fields(section):
        name, hint = prefix + part.name, hints[part.name]
        if is_dataclass(hint):
            yield name, None
            yield from _walk(hint, f"{name}.")
        else:
            kind, *null = get_args(hint) if isinstance(hint, UnionType) else [hint]
            default = part.default if part.default_factory is MISSING else part.default_factory()
            yield name, Key(name, kind, bool(null), default, **part.metadata)


@cache
def keys(schema: type = Config) -> dict[str, Key]:
    """Returns every key of a schema by full name, in the schema's order."""
    return {name: key for name, key in _walk(schema, "") if key is not None}


@cache
def sections(schema: type = Config) -> tuple[str, ...]:
    """Returns the full names of a schema's sections, nested ones included, as in ``data`` and ``data.split``."""
    return tuple(name for name, key in _walk(schema, "") if key is None)


def may_change(name: str, program: str) -> bool:
    """Tells whether ``program`` may change this key of an existing run."""
    return any(name == entry or (entry.endswith(".") and name.startswith(entry)) for entry in CHANGEABLE[program])


def key_error(name: str, schema: type, place: str) -> str:
    """Returns the error for a name that is no key of the schema, with the keys that were probably meant."""
    known, last = keys(schema), name.rpartition(".")[2]
    if name in sections(schema):
        return "is a section, not a key" + ("; in a file, pick a group with include" if place else "")
    if name == "include":
        return "belongs in a recipe; on the command line pick a group, as in data=mango"
    if RENAMED.get(name) in {*known, *sections(schema)}:
        return f"is now {RENAMED[name]}"
    parent = name.rpartition(".")[0]
    same = [parent] if parent in known else [full for full in known if full.rpartition(".")[2] == last]
    if len(same) > 3 and not parent:
        same = same[:1]  # of a name in many sections, the first section's
    return f"no such key{suggestion(same) if 0 < len(same) <= 3 else did_you_mean(name, [*known, *sections(schema)])}"
