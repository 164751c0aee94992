"""Checks a configuration: every value by itself, then the conflicts between keys.

A contradiction is given with the keys it reads, so that a caller who already refused one of these keys can leave the
contradiction out.
"""

import difflib
import math
import string
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from outfits.config.keys import Key, keys, value_of
from outfits.config.method_calls import resolve_call, split_call
from outfits.config.schema import Config
from outfits.config.schema.data import DataConfig
from outfits.config.schema.encoder import EncoderConfig
from outfits.config.schema.index import PQ_BYTES
from outfits.config.schema.methods import METHODS
from outfits.config.schema.representation import IMAGE_MODELS
from outfits.config.schema.stages import STAGES
from outfits.config.schema.trainer import TrainerConfig

Conflict = tuple[tuple[str, ...], str]

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
LARGEST_SEED = 2**32 - 1  # NumPy's legacy generator, which Lightning seeds too, takes no larger one


def _satisfies(value: float, sign: str, bound: float) -> bool:
    return {">=": value >= bound, ">": value > bound, "<=": value <= bound, "<": value < bound}[sign]


def _one_value(value: Any, key: Key) -> str | None:
    """What is wrong with one number or text of a key, None where nothing is."""
    if key.choices is not None and value not in key.choices:
        near = difflib.get_close_matches(str(value), [str(choice) for choice in key.choices], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{value!r} is not one of {', '.join(map(str, key.choices))}{hint}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    broken = [f"{sign} {bound:g}" for sign, bound in key.bounds if not _satisfies(value, sign, bound)]
    return f"{value!r} is out of range: must be {' and '.join(broken)}" if broken else None


def _devices_mistake(value: Any) -> str | None:
    if isinstance(value, list):
        ids = all(isinstance(part, int) and not isinstance(part, bool) and part >= 0 for part in value)
        different = bool(value) and ids and len(set(value)) == len(value)
        return None if different else f"{value} is not a list of different device ids"
    if value == "auto" or (isinstance(value, str) and value.isdecimal() and int(value) >= 1):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return None
    return f"{value!r} is neither a number of devices >= 1, nor a list of device ids as in [0,1], nor auto"


def _limit_mistake(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return None
    if isinstance(value, float) and 0 < value <= 1:
        return None
    return f"{value!r} is neither a share (0 < share <= 1.0) nor a number of batches >= 1"


def _accelerator_mistake(value: Any) -> str | None:
    return None if value in ACCELERATORS else f"{value!r} is not one of {', '.join(ACCELERATORS)}"


def _methods_mistake(value: Any) -> str | None:
    """The first list element that names no method."""
    for position, text in enumerate(value):
        try:
            split_call(text)
        except ValueError as error:
            return f"element {position}: {error}"
    return None


# Keys that the schema's bounds and choices cannot describe.
OWN_CHECKS = {
    "evaluate.methods": _methods_mistake,
    "evaluate.slow_methods": _methods_mistake,
    "evaluate.condition_methods": _methods_mistake,
    "evaluate.sweep.methods": _methods_mistake,
    "trainer.accelerator": _accelerator_mistake,
    "trainer.devices": _devices_mistake,
    "trainer.limit_train_batches": _limit_mistake,
    "trainer.limit_val_batches": _limit_mistake,
}


def value_mistake(config: Any, key: Key) -> str | None:
    """What is wrong with the value of one key, whatever the other keys say; None where nothing is."""
    value = value_of(config, key.name)
    if key.name in OWN_CHECKS:
        return OWN_CHECKS[key.name](value)
    if value is None:
        return None
    if key.kind is not list:
        return _one_value(value, key)
    found = ((position, _one_value(part, key)) for position, part in enumerate(value))
    return next((f"element {position}: {text}" for position, text in found if text is not None), None)


def _run_rules(config: Config) -> Iterator[Conflict]:
    if config.run_dir is not None and config.resume is not None and config.run_dir != config.resume:
        yield ("run_dir", "resume"), f"run_dir: resume={config.resume} continues in that folder; leave run_dir out"
    if config.resume is not None and config.trainer.fast_dev_run:
        yield ("resume", "trainer.fast_dev_run"), "trainer.fast_dev_run: keeps nothing, so it cannot continue resume"
    if config.seed > LARGEST_SEED - config.judge.seed_offset:
        text = f"seed: {config.seed} is too large; seed + judge.seed_offset must not exceed {LARGEST_SEED}"
        yield ("seed", "judge.seed_offset"), text
    evaluate = config.evaluate
    lists = (
        ("stages", config.stages, tuple(STAGES)),
        ("evaluate.methods", evaluate.methods, METHODS),
        ("evaluate.condition_methods", evaluate.condition_methods, METHODS),
        ("evaluate.sweep.methods", evaluate.sweep.methods, METHODS),
    )
    if "most_similar" in evaluate.methods:
        text = (
            "evaluate.methods: most_similar looks at texts of conditions alone; name it in evaluate.condition_methods"
        )
        yield ("evaluate.methods",), text
    for name, swept in vars(evaluate.sweep).items():
        if isinstance(swept, list) and name != "methods" and len(set(swept)) < len(swept):
            yield (f"evaluate.sweep.{name}",), f"evaluate.sweep.{name}: {swept} has a value more than once"
    for name, values, order in lists:
        repeated = sorted({value for value in values if values.count(value) > 1})
        if not values:
            yield (name,), f"{name}: the list is empty; give at least one of {', '.join(order)}"
        if repeated:
            yield (name,), f"{name}: {', '.join(map(str, repeated))} is named more than once"
        elif name == "stages" and values != [stage for stage in order if stage in values]:
            yield (name,), f"{name}: stages run in the order {', '.join(order)}; write them in this order"


METHOD_LISTS = ("evaluate.methods", "evaluate.slow_methods", "evaluate.condition_methods", "evaluate.sweep.methods")


def _method_rules(config: Config) -> Iterator[Conflict]:
    """Options of method calls, checked as the keys of their section are."""
    for name in METHOD_LISTS:
        for text in value_of(config, name):
            try:
                call = resolve_call(text, config.evaluate)
            except ValueError as error:
                yield (name,), f"{name}: {error}"
                continue
            if call.options is None:
                continue
            changed = replace(config, evaluate=replace(config.evaluate, **{call.name: call.options}))
            for option in vars(call.options):
                mistake = _option_mistake(changed, keys()[f"evaluate.{call.name}.{option}"])
                if mistake is not None:
                    yield (name,), f"{name}: {text!r}: {option} {mistake}"
    if config.evaluate.sweep.alpha and config.encoder.text == "none":
        text = "evaluate.sweep.alpha: texts of conditions need a text encoder; set encoder.text, or leave the sweep out"
        yield ("evaluate.sweep.alpha", "encoder.text"), text


def _option_mistake(config: Config, key: Key) -> str | None:
    """What is wrong with a value that a method call gives, its type among it, since YAML chose that."""
    value = value_of(config, key.name)
    fits = isinstance(value, key.kind) or (key.kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and key.kind is not bool):
        return f"must be {key.type_name}, not {value!r}"
    return value_mistake(config, key)


def _data_rules(data: DataConfig) -> Iterator[Conflict]:
    mode, tables = data.split.mode, data.tables
    reads = ("data.format", "data.split.mode", "data.tables.split")
    if data.format == "tables" and mode == "official" and tables.split is None:
        yield reads, "data.split.mode: official needs the split column of the outfits table; set data.tables.split"
    if data.format == "tables" and mode != "official" and tables.split is not None:
        text = f"not read with data.split.mode={mode}; set data.split.mode=official, or data.tables.split=null"
        yield reads, f"data.tables.split: {text}"
    if data.format == "tables":
        try:
            columns = [name for _, name, _, _ in string.Formatter().parse(tables.text) if name is not None]
        except ValueError as error:
            yield ("data.format", "data.tables.text"), f"data.tables.text: {tables.text!r} is no template: {error}"
        else:
            if not all(columns):
                text = f"data.tables.text: {tables.text!r} has empty braces; name a column in them"
                yield ("data.format", "data.tables.text"), text


def _split_rules(config: Config) -> Iterator[Conflict]:
    split, name = config.data.split, "data.split.shares"
    if len(split.shares) != 3:
        yield (name,), f"{name}: {split.shares} must be three numbers: train, validation, test"
        return
    if not math.isclose(sum(split.shares), 1.0, abs_tol=1e-6):
        yield (name,), f"{name}: {split.shares} sum to {sum(split.shares):g}, not to 1"
    if split.mode == "official":
        return
    reads = (name, "data.split.mode", "stages")
    train, valid, test = split.shares
    if train == 0:
        yield reads, f"{name}: the training share is 0"
    if valid == 0 and {"compatibility", "generator"} & set(config.stages):
        yield reads, f"{name}: the validation share is 0, but training chooses its best epoch there"
    if test == 0 and "test" in config.stages and config.evaluate.split == "test":
        yield (*reads, "evaluate.split"), f"{name}: the test share is 0, but stages has test; set evaluate.split=valid"


def _encoder_rules(encoder: EncoderConfig, data: DataConfig) -> Iterator[Conflict]:
    both = ("encoder.image", "encoder.text")
    if encoder.image == encoder.text == "none":
        yield both, "encoder.image, encoder.text: both are none; items would have no embedding"
    if "open_clip" in (encoder.image, encoder.text):
        model, pretrained = encoder.open_clip.model, encoder.open_clip.pretrained
        reads = (*both, "encoder.open_clip.model", "encoder.open_clip.pretrained")
        whole = model.startswith(("hf-hub:", "local-dir:"))
        if not whole and pretrained is None:
            text = f"is null, which would leave {model} with random weights; give a tag (laion2b_s34b_b79k) or a file"
            yield reads, f"encoder.open_clip.pretrained: {text}"
        if whole and pretrained is not None:
            yield reads, f"encoder.open_clip.pretrained: {model} brings its own weights; set it to null"
    if encoder.image == "learned" and encoder.learned.run is None:
        text = "is null; name the folder of a finished run of experiment=representation"
        yield ("encoder.image", "encoder.learned.run"), f"encoder.learned.run: {text}"
    if data.format == "tables" and data.tables.image is None and encoder.image != "none":
        text = f"{encoder.image} needs images, but data.tables.image is null; set it, or encoder.image=none"
        yield ("encoder.image", "data.format", "data.tables.image"), f"encoder.image: {text}"


def _model_rules(config: Config) -> Iterator[Conflict]:
    for name, width, heads, used in (
        ("scorer", config.scorer.width, config.scorer.heads, True),
        ("judge", config.judge.width, config.judge.heads, config.judge.share > 0),
    ):
        if used and width % heads:
            text = f"{name}.width: {width} is not divisible by {name}.heads={heads}"
            yield (f"{name}.width", f"{name}.heads", "judge.share"), text
    model, sweep = config.model, config.evaluate.sweep
    if model.k > model.k_max:
        yield ("model.k", "model.k_max"), f"model.k_max: {model.k_max} is smaller than model.k={model.k}; raise it"
    by_generator = [text for text in sweep.methods if text.startswith("generator")]
    if by_generator and sweep.k and max(sweep.k) > model.k_max:
        text = f"evaluate.sweep.k: {max(sweep.k)} is more than the generator's model.k_max={model.k_max}"
        yield ("evaluate.sweep.k", "evaluate.sweep.methods", "model.k_max"), text
    negatives = config.scorer.negatives
    if negatives.hard_full < negatives.hard_start:
        text = f"scorer.negatives.hard_full: {negatives.hard_full:g} is before hard_start={negatives.hard_start:g}"
        yield ("scorer.negatives.hard_full", "scorer.negatives.hard_start"), text
    loss = config.loss
    if loss.cosine_weight == loss.listwise_weight == 0:
        weights = ("loss.cosine_weight", "loss.listwise_weight")
        yield weights, "loss.cosine_weight, loss.listwise_weight: both are 0; the generator would learn nothing"
    if loss.listwise_weight > 0 and config.targets.candidates < 2:
        text = "targets.candidates: the listwise loss needs at least 2; raise it or set loss.listwise_weight=0"
        yield ("loss.listwise_weight", "targets.candidates"), text


def _representation_rules(config: Config) -> Iterator[Conflict]:
    if "representation" not in config.stages:
        return
    model, prefix = config.model.representation, "model.representation"
    corruption, deforming, perceptual = model.corruption, model.deforming, model.perceptual
    entry = IMAGE_MODELS[model.kind]
    if corruption.masked > 0 and model.image_size % corruption.patch:
        text = f"{corruption.patch} does not divide {prefix}.side={model.image_size}"
        yield (f"{prefix}.corruption.patch", f"{prefix}.side"), f"{prefix}.corruption.patch: {text}"
    if model.kind == "deforming" and deforming.shape_dim + deforming.class_dim >= model.latent_dim:
        text = "shape_dim and class_dim leave no coordinate for the appearance; raise it"
        parts = (f"{prefix}.deforming.shape_dim", f"{prefix}.deforming.class_dim")
        yield (f"{prefix}.latent_dim", *parts), f"{prefix}.latent_dim: {text}"
    if perceptual.weight > 0 and perceptual.network is None:
        text = "is null, but perceptual.weight is not 0; name a network, or set the weight to 0"
        yield (f"{prefix}.perceptual.network", f"{prefix}.perceptual.weight"), f"{prefix}.perceptual.network: {text}"
    own = (perceptual.network or "").startswith("learned:")
    if perceptual.weight > 0 and perceptual.network is not None and not own and perceptual.weights is None:
        text = f"is null, which would leave {perceptual.network} with random weights; give a file"
        reads = (f"{prefix}.perceptual.network", f"{prefix}.perceptual.weights")
        yield reads, f"{prefix}.perceptual.weights: {text}"
    if entry.generative and model.pixel_weight == perceptual.weight == 0:
        text = "and perceptual.weight are both 0; the model would learn nothing"
        yield (f"{prefix}.pixel_weight", f"{prefix}.perceptual.weight"), f"{prefix}.pixel_weight: {text}"
    if not entry.generative and perceptual.weight > 0:
        text = f"a {model.kind} model reconstructs nothing; set it to 0"
        yield (f"{prefix}.kind", f"{prefix}.perceptual.weight"), f"{prefix}.perceptual.weight: {text}"
    if entry.texts and config.encoder.text == "none":
        text = f"is none, but a {model.kind} model learns from texts; set it"
        yield (f"{prefix}.kind", "encoder.text", "stages"), f"encoder.text: {text}"
    if config.data.format == "tables" and config.data.tables.image is None:
        text = "is null, but a representation is learned from images; set it"
        yield ("data.format", "data.tables.image", "stages"), f"data.tables.image: {text}"


def _index_rules(config: Config) -> Iterator[Conflict]:
    index, model = config.index, config.model
    if index.kind != "flat" and index.lists is not None and index.probes is not None and index.probes > index.lists:
        text = f"index.probes: {index.probes} is more than index.lists={index.lists}; lower it"
        yield ("index.kind", "index.probes", "index.lists"), text
    width = model.retrieval_dim
    if index.kind == "ivf_pq" and model.retrieval == "map" and index.pq_bytes and width % index.pq_bytes:
        possible = ", ".join(str(size) for size in PQ_BYTES if width % size == 0)
        text = f"index.pq_bytes: {index.pq_bytes} does not divide model.retrieval_dim={width}; {possible} do"
        yield ("index.kind", "index.pq_bytes", "model.retrieval", "model.retrieval_dim"), text


def _trainer_rules(trainer: TrainerConfig) -> Iterator[Conflict]:
    if trainer.accelerator == "cpu" and isinstance(trainer.devices, list):
        text = "trainer.devices: a CPU has no device ids; give the number of processes, as in trainer.devices=2"
        yield ("trainer.accelerator", "trainer.devices"), text
    if trainer.accelerator == "cpu" and trainer.precision == "16-mixed":
        text = "trainer.precision: 16-mixed needs a GPU; set bf16-mixed or 32-true with trainer.accelerator=cpu"
        yield ("trainer.accelerator", "trainer.precision"), text
    if trainer.check_val_every_n_epoch > trainer.max_epochs and not trainer.fast_dev_run:
        text = f"trainer.check_val_every_n_epoch: no validation would happen in trainer.max_epochs={trainer.max_epochs}"
        yield ("trainer.check_val_every_n_epoch", "trainer.max_epochs", "trainer.fast_dev_run"), text


def conflicts(config: Config) -> Iterator[Conflict]:
    """Every contradiction between keys: the keys it reads, and one line that begins with the key to change."""
    yield from _run_rules(config)
    yield from _method_rules(config)
    yield from _data_rules(config.data)
    yield from _split_rules(config)
    yield from _encoder_rules(config.encoder, config.data)
    yield from _model_rules(config)
    yield from _representation_rules(config)
    yield from _index_rules(config)
    yield from _trainer_rules(config.trainer)


def check(config: Config) -> list[str]:
    """Every mistake of a configuration, one line each; conflicts only where no value is wrong by itself."""
    found = [(name, value_mistake(config, key)) for name, key in keys().items()]
    errors = [f"{name}: {text}" for name, text in found if text is not None]
    return errors or [line for _, line in conflicts(config)]
