"""Finds conflicts between the keys of a configuration."""

import math
import string
from collections.abc import Iterator

from outfits.config.method_calls import resolve_call
from outfits.config.schema import Config
from outfits.config.schema.data import DataConfig
from outfits.config.schema.encoder import EncoderConfig
from outfits.config.schema.index import PQ_BYTES
from outfits.config.schema.methods import METHODS
from outfits.config.schema.model import ATTENTION_HEADS
from outfits.config.schema.multitask import SMALL
from outfits.config.schema.representation import IMAGE_MODELS
from outfits.config.schema.stages import STAGES
from outfits.config.schema.trainer import TrainerConfig

Conflict = tuple[str, ...]
"""The key or keys to change, separated by commas, the error, and the other keys that the rule reads.

A conflict is not reported if one of these keys has an error already.
"""

LARGEST_SEED = 2**32 - 1  # NumPy's legacy generator, which Lightning seeds too, takes no larger one


def _run_rules(config: Config) -> Iterator[Conflict]:
    if config.resume is not None and config.trainer.fast_dev_run:
        yield "trainer.fast_dev_run", "keeps nothing, so it cannot continue resume", "resume"
    if config.seed > LARGEST_SEED - config.judge.seed_offset:
        text = f"{config.seed} is too large; seed + judge.seed_offset must not exceed {LARGEST_SEED}"
        yield "seed", text, "judge.seed_offset"
    for name, swept in vars(config.evaluate.sweep).items():
        if isinstance(swept, list) and name != "methods" and len(set(swept)) < len(swept):
            yield f"evaluate.sweep.{name}", f"{swept} has a value more than once"
    if "most_similar" in config.evaluate.methods:
        text = "most_similar looks at texts of conditions alone; name it in evaluate.condition_methods"
        yield "evaluate.methods", text
    if config.evaluate.sweep.alpha and config.encoder.text == "none":
        text = "texts of conditions need a text encoder; set encoder.text, or leave the sweep out"
        yield "evaluate.sweep.alpha", text, "encoder.text"


def _list_rules(config: Config) -> Iterator[Conflict]:
    """Yields conflicts in lists of stages and methods and in the options of method calls."""
    evaluate = config.evaluate
    method_lists = {
        "evaluate.methods": evaluate.methods,
        "evaluate.condition_methods": evaluate.condition_methods,
        "evaluate.sweep.methods": evaluate.sweep.methods,
    }
    for name, values in {"stages": config.stages, **method_lists}.items():
        repeated = sorted({value for value in values if values.count(value) > 1})
        order = list(STAGES if name == "stages" else METHODS)
        if not values:
            yield name, f"the list is empty; give at least one of {', '.join(order)}"
        if repeated:
            yield name, f"{', '.join(repeated)} is named more than once"
        elif name == "stages" and values != [stage for stage in order if stage in values]:
            yield name, f"stages run in the order {', '.join(order)}; write them in this order"
    for name, values in {**method_lists, "evaluate.slow_methods": evaluate.slow_methods}.items():
        for place, text in enumerate(values):
            try:
                resolve_call(text, evaluate)
            except ValueError as error:
                yield name, f"element {place}: {error}"


def _data_rules(data: DataConfig) -> Iterator[Conflict]:
    mode, tables = data.split.mode, data.tables
    if data.likes and data.format not in ("maryland", "shift15m"):
        yield "data.likes", f"only maryland and shift15m have likes, not {data.format}; leave it out", "data.format"
    elif data.likes and data.score_scale != "rank":
        yield "data.score_scale", "likes are no numbers in [0, 1]; set it to rank", "data.likes", "data.format"
    if data.format != "tables":
        return
    if mode == "official" and tables.split is None:
        text = "official needs the split column of the outfits table; set data.tables.split"
        yield "data.split.mode", text, "data.format", "data.tables.split"
    if mode != "official" and tables.split is not None:
        text = f"not read with data.split.mode={mode}; set data.split.mode=official, or data.tables.split=null"
        yield "data.tables.split", text, "data.format", "data.split.mode"
    try:
        columns = [name for _, name, _, _ in string.Formatter().parse(tables.text) if name is not None]
    except ValueError as error:
        yield "data.tables.text", f"{tables.text!r} is no template: {error}", "data.format"
    else:
        if not all(columns):
            yield "data.tables.text", f"{tables.text!r} has empty braces; name a column in them", "data.format"


def _split_rules(config: Config) -> Iterator[Conflict]:
    split, name = config.data.split, "data.split.shares"
    if split.strict and split.mode != "official":
        yield "data.split.strict", f"belongs to official splits, not to {split.mode}; leave it out", "data.split.mode"
    if len(split.shares) != 3:
        yield name, f"{split.shares} must be three numbers: train, validation, test"
        return
    if not math.isclose(sum(split.shares), 1.0, abs_tol=1e-6):
        yield name, f"{split.shares} sum to {sum(split.shares):g}, not to 1"
    if split.mode == "official":
        return
    reads = ("data.split.mode", "stages")
    train, valid, test = split.shares
    if train == 0:
        yield name, "the training share is 0", *reads
    if valid == 0 and {"compatibility", "generator"} & set(config.stages):
        yield name, "the validation share is 0, but training chooses its best epoch there", *reads
    if test == 0 and "test" in config.stages and config.evaluate.split == "test":
        text = "the test share is 0, but stages has test; set evaluate.split=valid"
        yield name, text, *reads, "evaluate.split"


def _encoder_rules(encoder: EncoderConfig, data: DataConfig) -> Iterator[Conflict]:
    images = encoder.joined if encoder.image == "joined" else [encoder.image]
    if encoder.image == encoder.text == "none":
        yield "encoder.image, encoder.text", "both are none; items would have no embedding"
    if "open_clip" in (*images, encoder.text):
        model, pretrained = encoder.open_clip.model, encoder.open_clip.pretrained
        name, reads = "encoder.open_clip.pretrained", ("encoder.image", "encoder.text", "encoder.open_clip.model")
        whole = model.startswith(("hf-hub:", "local-dir:"))
        if not whole and pretrained is None:
            text = f"is null, which would leave {model} with random weights; give a tag (laion2b_s34b_b79k) or a file"
            yield name, text, *reads
        if whole and pretrained is not None:
            yield name, f"{model} brings its own weights; set it to null", *reads
    if "learned" in images and encoder.learned.run is None:
        text = "is null; name the folder of a finished run of experiment=representation"
        yield "encoder.learned.run", text, "encoder.image", "encoder.joined"
    if "multitask" in (*images, encoder.text) and encoder.multitask.run is None:
        text = "is null; name the folder of a finished run of experiment=multitask"
        yield "encoder.multitask.run", text, "encoder.image", "encoder.text", "encoder.joined"
    if encoder.image == "joined":
        alone = {"joined", "none"} & set(encoder.joined)
        if alone or len(set(encoder.joined)) < max(2, len(encoder.joined)):
            text = f"{encoder.joined} is not a list of two or more different image encoders"
            yield "encoder.joined", text, "encoder.image"
    if data.format == "tables" and data.tables.image is None and data.images is None and encoder.image != "none":
        text = f"{encoder.image} needs images, but data.tables.image is null; set it, or encoder.image=none"
        yield "encoder.image", text, "data.format", "data.tables.image", "data.images"


def _model_rules(config: Config) -> Iterator[Conflict]:
    for name, network, used in (("scorer", config.scorer, True), ("judge", config.judge, config.judge.share > 0)):
        if used and network.width % network.heads:
            text = f"{network.width} is not divisible by {name}.heads={network.heads}"
            yield f"{name}.width", text, f"{name}.heads", "judge.share"
    model, sweep = config.model, config.evaluate.sweep
    if model.k > model.k_max:
        yield "model.k_max", f"{model.k_max} is smaller than model.k={model.k}; raise it", "model.k"
    if "transformer" in config.retrieval.peers:
        yield "retrieval.peers", "the transformer is trained in any case; name others, or none"
    if model.layer in ("gat", "gatv2") and model.width % ATTENTION_HEADS:
        text = f"{model.width} is not divisible by the {ATTENTION_HEADS} heads of model.layer={model.layer}"
        yield "model.width", text, "model.layer"
    by_generator = [text for text in sweep.methods if text.startswith("generator")]
    if by_generator and sweep.k and max(sweep.k) > model.k_max:
        text = f"{max(sweep.k)} is more than the generator's model.k_max={model.k_max}"
        yield "evaluate.sweep.k", text, "evaluate.sweep.methods", "model.k_max"
    negatives = config.scorer.negatives
    if negatives.hard_full < negatives.hard_start:
        text = f"{negatives.hard_full:g} is before hard_start={negatives.hard_start:g}"
        yield "scorer.negatives.hard_full", text, "scorer.negatives.hard_start"
    loss = config.loss
    if loss.cosine_weight == loss.listwise_weight == 0:
        yield "loss.cosine_weight, loss.listwise_weight", "both are 0; the generator would learn nothing"
    if loss.listwise_weight > 0 and config.targets.candidates < 2:
        text = "the listwise loss needs at least 2; raise it or set loss.listwise_weight=0"
        yield "targets.candidates", text, "loss.listwise_weight"


def _representation_rules(config: Config) -> Iterator[Conflict]:
    if "representation" not in config.stages:
        return
    model, name = config.model.representation, "model.representation"
    corruption, deforming, perceptual = model.corruption, model.deforming, model.perceptual
    entry = IMAGE_MODELS[model.kind]
    if corruption.masked > 0 and model.image_size % corruption.patch:
        text = f"{corruption.patch} does not divide {name}.image_size={model.image_size}"
        yield f"{name}.corruption.patch", text, f"{name}.image_size"
    if model.kind == "deforming" and deforming.shape_dim + deforming.class_dim >= model.latent_dim:
        text = "shape_dim and class_dim leave no coordinate for the appearance; raise it"
        yield f"{name}.latent_dim", text, f"{name}.deforming.shape_dim", f"{name}.deforming.class_dim"
    if perceptual.weight > 0 and perceptual.network is None:
        text = "is null, but perceptual.weight is not 0; name a network, or set the weight to 0"
        yield f"{name}.perceptual.network", text, f"{name}.perceptual.weight"
    elif perceptual.weight > 0 and not f"{perceptual.network}".startswith("learned:") and perceptual.weights is None:
        text = f"is null, which would leave {perceptual.network} with random weights; give a file"
        yield f"{name}.perceptual.weights", text, f"{name}.perceptual.network"
    if entry.generative and model.pixel_weight == perceptual.weight == 0:
        text = "and perceptual.weight are both 0; the model would learn nothing"
        yield f"{name}.pixel_weight", text, f"{name}.perceptual.weight"
    if not entry.generative and perceptual.weight > 0:
        text = f"a {model.kind} model reconstructs nothing; set it to 0"
        yield f"{name}.perceptual.weight", text, f"{name}.kind"
    if entry.texts and config.encoder.text == "none":
        text = f"is none, but a {model.kind} model learns from texts; set it"
        yield "encoder.text", text, f"{name}.kind", "stages"
    data = config.data
    if data.format == "tables" and data.tables.image is None and data.images is None:
        text = "is null, but a representation is learned from images; set it"
        yield "data.tables.image", text, "data.format", "data.images", "stages"


def _parts_rules(config: Config) -> Iterator[Conflict]:
    parts, data = config.parts, config.data
    if "parts" not in config.stages:
        return
    if len(parts.shares) != 3 or min(parts.shares) == 0:
        yield "parts.shares", f"{parts.shares} must be three positive numbers: train, validation, test", "stages"
    if not parts.grids or parts.grids != sorted(set(parts.grids)):
        yield "parts.grids", f"{parts.grids} must be ascending numbers, the coarsest first", "stages"
    if parts.network == "learned" and config.encoder.learned.run is None:
        text = "is null; name the folder of a finished run of experiment=representation"
        yield "encoder.learned.run", text, "parts.network", "stages"
    if data.format == "tables" and data.tables.image is None and data.images is None:
        text = "is null, but parts are those of images; set it"
        yield "data.tables.image", text, "data.format", "data.images", "stages"


def _multitask_rules(config: Config) -> Iterator[Conflict]:
    if "multitask" not in config.stages:
        return
    multitask, small = config.multitask, config.multitask.small
    if not multitask.tasks:
        yield "multitask.tasks", "the list is empty; give at least one"
    if len(set(multitask.tasks)) < len(multitask.tasks):
        yield "multitask.tasks", f"{multitask.tasks} names a task more than once"
    if multitask.model == SMALL:
        if multitask.pretrained is not None:
            yield "multitask.pretrained", "a small model is trained by the stage; set it to null", "multitask.model"
        if small.width % small.heads:
            text = f"{small.width} is not divisible by multitask.small.heads={small.heads}"
            yield "multitask.small.width", text, "multitask.small.heads", "multitask.model"
        if small.image_size % small.patch_size:
            text = f"{small.patch_size} does not divide multitask.small.image_size={small.image_size}"
            yield "multitask.small.patch_size", text, "multitask.small.image_size", "multitask.model"


def _imaging_rules(config: Config) -> Iterator[Conflict]:
    if "imaging" not in config.stages:
        return
    imaging, name = config.model.imaging, "model.imaging"
    texture, resolution, styles = imaging.texture, imaging.super_resolution, imaging.style_transfer
    if imaging.kind == "super_resolution" and not resolution.losses:
        yield f"{name}.super_resolution.losses", "the list is empty; give pixel, perceptual or both", f"{name}.kind"
    if imaging.kind == "super_resolution" and resolution.crop % resolution.factor:
        text = f"{resolution.crop} is not divisible by super_resolution.factor={resolution.factor}"
        yield f"{name}.super_resolution.crop", text, f"{name}.kind", f"{name}.super_resolution.factor"
    if imaging.kind == "style_transfer" and not styles.styles:
        yield f"{name}.style_transfer.styles", "the list is empty; give at least one", f"{name}.kind"
    if imaging.kind == "texture":
        size, window = texture.sample_size, texture.window
        if window % 2 == 0 or window > size:
            text = f"{window} is even, or more than texture.sample_size={size}"
            yield f"{name}.texture.window", text, f"{name}.kind", f"{name}.texture.sample_size"
        if texture.size < size or texture.size % 16:
            text = f"{texture.size} is less than texture.sample_size={size}, or not divisible by 16"
            yield f"{name}.texture.size", text, f"{name}.kind", f"{name}.texture.sample_size"
        if not texture.samples and not texture.fabrics:
            yield f"{name}.texture.samples", "the list is empty and texture.fabrics is 0", f"{name}.texture.fabrics"
    network, compares = imaging.perceptual, not imaging.kind.startswith("pixel")
    if compares and network.network is None:
        yield f"{name}.perceptual.network", "is null; name a network", f"{name}.kind"
    elif compares and not f"{network.network}".startswith("learned:") and network.weights is None:
        text = f"is null, which would leave {network.network} with random weights; give a file or package:NAME"
        yield f"{name}.perceptual.weights", text, f"{name}.perceptual.network"
    data = config.data
    if data.format == "tables" and data.tables.image is None and data.images is None:
        yield "data.tables.image", "is null, but imaging needs images; set it", "data.format", "data.images", "stages"


def _index_rules(config: Config) -> Iterator[Conflict]:
    index, model = config.index, config.model
    if index.kind != "flat" and index.lists is not None and index.probes is not None and index.probes > index.lists:
        text = f"{index.probes} is more than index.lists={index.lists}; lower it"
        yield "index.probes", text, "index.kind", "index.lists"
    if index.kind == "lance" and index.uri is None:
        yield "index.uri", "is null, but index.kind=lance keeps its table there; name a folder or a URL", "index.kind"
    width = model.retrieval_dim
    if index.kind in ("ivf_pq", "lance") and model.retrieval != "item" and index.pq_bytes and width % index.pq_bytes:
        possible = ", ".join(str(size) for size in PQ_BYTES if width % size == 0)
        text = f"{index.pq_bytes} does not divide model.retrieval_dim={width}; {possible} do"
        yield "index.pq_bytes", text, "index.kind", "model.retrieval", "model.retrieval_dim"


def _engine_rules(config: Config) -> Iterator[Conflict]:
    if config.engine == "ray" and config.targets.precision == "auto":
        text = "auto asks this machine, and the workers of engine=ray may be others; say fp32 or bf16"
        yield "targets.precision", text, "engine"


def _trainer_rules(trainer: TrainerConfig) -> Iterator[Conflict]:
    if trainer.accelerator == "cpu" and isinstance(trainer.devices, list):
        text = "a CPU has no device ids; give the number of processes, as in trainer.devices=2"
        yield "trainer.devices", text, "trainer.accelerator"
    if trainer.accelerator == "cpu" and trainer.precision == "16-mixed":
        text = "16-mixed needs a GPU; set bf16-mixed or 32-true with trainer.accelerator=cpu"
        yield "trainer.precision", text, "trainer.accelerator"
    if trainer.check_val_every_n_epoch > trainer.max_epochs and not trainer.fast_dev_run:
        text = f"no validation would happen in trainer.max_epochs={trainer.max_epochs}"
        yield "trainer.check_val_every_n_epoch", text, "trainer.max_epochs", "trainer.fast_dev_run"


def conflicts(config: Config) -> Iterator[Conflict]:
    """Yields every conflict between keys."""
    yield from _run_rules(config)
    yield from _list_rules(config)
    yield from _data_rules(config.data)
    yield from _split_rules(config)
    yield from _encoder_rules(config.encoder, config.data)
    yield from _model_rules(config)
    yield from _representation_rules(config)
    yield from _parts_rules(config)
    yield from _multitask_rules(config)
    yield from _imaging_rules(config)
    yield from _index_rules(config)
    yield from _engine_rules(config)
    yield from _trainer_rules(config.trainer)
