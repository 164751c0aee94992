"""Every configuration key with its type, default, bounds and meaning, written once.

``outfits.config.load`` merges defaults, YAML and the command line into :class:`Config`, ``outfits.config.checks``
checks it, ``python train.py --help`` prints it. Sections are plain dataclasses, so library code can take one as an
argument without knowing where it came from.
"""

from dataclasses import dataclass
from typing import Any

from outfits.config.fields import key, section
from outfits.config.representation import RepresentationConfig, RepresentationReportConfig

STAGES = ("representation", "embeddings", "compatibility", "targets", "generator", "test")
MAIN_JOB = STAGES[1:]
"""The stages of a run that completes outfits; a representation is trained in a run of its own."""
METHODS = (
    "original",
    "random",
    "most_frequent",
    "most_selected",
    "most_similar",
    "exhaustive",
    "greedy_1",
    "greedy_k",
    "beam",
    "greedy_two_stage",
    "beam_two_stage",
    "gradient",
    "generator",
    "generator_rerank",
    "generator_beam",
)
# What evaluate.methods compares unless told otherwise; exhaustive search is for catalogues of a few hundred items.
COMPARED = (
    "original",
    "random",
    "most_selected",
    "greedy_1",
    "greedy_k",
    "beam",
    "gradient:projection=l1",
    "gradient:projection=l2",
    "gradient:projection=l10",
    "gradient:projection=cosine",
    "gradient:start=items",
    "gradient:penalty=0.003",
    "gradient:sequential=true",
    "gradient:choose=projected:restarts=16:steps=25",
    "generator",
    "generator_rerank",
    "generator_beam",
)
WISHES = ("categories", "texts", "categories_texts")
PQ_BYTES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)  # what FAISS has on GPUs too


@dataclass
class SplitConfig:
    mode: str = key(
        "grouped",
        "how far related outfits may part: official (the split the data set comes with), random, grouped (outfits with "
        "Jaccard overlap >= split.overlap stay together) or disjoint (no item in two splits; straddling outfits are "
        "left out and counted)",
        choices=("official", "random", "grouped", "disjoint"),
    )
    shares: list[float] = key([0.8, 0.1, 0.1], "shares of train, validation and test outfits", ge=0)
    overlap: float = key(
        0.5, "Jaccard overlap of item sets from which on `grouped` keeps two outfits together", gt=0, le=1
    )
    seed: int = key(0, "seed of the split, apart from `seed` so that retraining keeps the split", ge=0)


@dataclass
class TablesConfig:
    items: str = key("items.csv", "items table, CSV or Parquet, relative to data.root")
    outfits: str = key(
        "outfits.csv", "outfits table, one row per (outfit, item), CSV or Parquet, relative to data.root"
    )
    item_id: str = key("item_id", "items table: column of the item's id")
    category: str = key("category", "items table: column of the item's category")
    image: str | None = key(None, "items table: column of the photo's path relative to data.root; null: no photos")
    text: str = key("{text}", "template of an item's text over the items table's columns, as in '{colour} {name}'")
    attributes: list[str] = key(
        [],
        "items table: columns kept as the items' attributes, against which learned representations are measured, as in "
        "[colour,fabric]",
    )
    outfit_id: str = key("outfit_id", "outfits table: column of the outfit's id")
    outfit_item_id: str = key("item_id", "outfits table: column of the item's id")
    split: str | None = key(None, "outfits table: column with train, valid or test; null: seeded split by data.split")


@dataclass
class SyntheticConfig:
    items: int = key(2400, "number of garments drawn; a garment worn in several outfits is an item of each", ge=60)
    outfits: int = key(1000, "number of outfits made by the hidden style rules, of some five items each", ge=60)
    image_size: int = key(96, "width and height of the drawn pictures, pixels", ge=16, le=1024)
    seed: int = key(0, "seed of the generated data set", ge=0)
    vary: float = key(
        0.0,
        "how much garments vary in size and place within their pictures: 0 draws all alike, 1 draws them at 40 to 75 "
        "percent of the picture's width and anywhere in it; values between do less of both",
        ge=0,
        le=1,
    )


@dataclass
class DataConfig:
    format: str = key(
        "synthetic",
        "layout of data.root; synthetic writes a small Maryland-layout root there first if it is missing",
        choices=("synthetic", "maryland", "polyvore_outfits", "tables"),
    )
    root: str = key("data/synthetic", "folder of the data set")
    variant: str = key("nondisjoint", "polyvore_outfits: which official split", choices=("disjoint", "nondisjoint"))
    category_level: str = key(
        "fine", "polyvore_outfits: category level of the one-item-per-category rule", choices=("fine", "semantic")
    )
    limit: int | None = key(
        None, "keep at most this many outfits, drawn with split.seed (a tiny subset for smoke runs)", ge=1
    )
    min_items: int = key(2, "outfits with fewer distinct items are left out and counted", ge=2)
    on_missing_image: str = key(
        "error",
        "an image file that is missing: error, or mask (the item keeps its text, the image part is masked)",
        choices=("error", "mask"),
    )
    on_corrupt_image: str = key(
        "error", "an image file that cannot be decoded: error or mask", choices=("error", "mask")
    )
    on_missing_item: str = key(
        "error",
        "an outfit names an item that the catalogue lacks: error, or drop that item from the outfit",
        choices=("error", "drop"),
    )
    on_repeated_item: str = key(
        "drop", "an outfit names one item twice: error, or drop the repetition", choices=("error", "drop")
    )
    on_rule_break: str = key(
        "keep",
        "an outfit has two items of one category: keep (a positive, scored by S without the zero, never produced by a "
        "method) or drop the outfit",
        choices=("keep", "drop"),
    )
    num_workers: int = key(0, "loader worker processes per rank", ge=0)
    split: SplitConfig = section(SplitConfig)
    tables: TablesConfig = section(TablesConfig)
    synthetic: SyntheticConfig = section(SyntheticConfig)


@dataclass
class OpenClipConfig:
    model: str = key("ViT-B-32", "architecture name, hf-hub:ORG/NAME or local-dir:PATH")
    pretrained: str | None = key(
        None, "pretrained tag (laion2b_s34b_b79k) or a local weights file; null for hf-hub: and local-dir:"
    )


@dataclass
class SentenceConfig:
    model: str = key(
        "sentence-transformers/all-MiniLM-L6-v2",
        "model name, local folder, or package:NAME for a model inside an installed Python package",
    )


@dataclass
class LearnedConfig:
    run: str | None = key(
        None,
        "folder of a finished run of experiment=representation, whose model encodes the images; may be written "
        "encoder.image.run",
    )


@dataclass
class EncoderConfig:
    image: str = key(
        "classical",
        "image encoder; learned is a model trained on the catalogue's own pictures, none leaves images out",
        choices=("classical", "learned", "open_clip", "none"),
    )
    text: str = key(
        "classical",
        "text encoder; none leaves texts out",
        choices=("classical", "open_clip", "sentence_transformers", "none"),
    )
    image_dim: int = key(64, "classical: width of the image part", ge=2)
    backdrop: str = key(
        "keep",
        "classical images: keep the photo's backdrop, or cut it out; where items were photographed together, the "
        "backdrop alone tells who belongs together",
        choices=("keep", "cut"),
    )
    text_dim: int = key(64, "classical: width of the text part", ge=2)
    shard_size: int = key(256, "items per shard: the unit of work, of resumption and of the encoder's batch", ge=1)
    precision: str = key(
        "auto",
        "open_clip and sentence_transformers: auto is bf16 on GPUs that have it, fp32 elsewhere",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    num_workers: int = key(2, "processes that decode images, per rank", ge=0)
    learned: LearnedConfig = section(LearnedConfig)
    open_clip: OpenClipConfig = section(OpenClipConfig)
    sentence: SentenceConfig = section(SentenceConfig)


@dataclass
class NegativesConfig:
    per_outfit: int = key(2, "negatives drawn per positive outfit", ge=1)
    replace_all: float = key(
        0.2, "share of negatives with every item replaced; the others have one item replaced", ge=0, le=1
    )
    same_category: float = key(0.7, "share of replacements drawn from the replaced item's own category", ge=0, le=1)
    hard_share: float = key(0.5, "share of one-item negatives that are hard once the schedule is complete", ge=0, le=1)
    hard_start: float = key(0.3, "share of training after which hard negatives begin", ge=0, le=1)
    hard_full: float = key(
        0.6, "share of training after which negatives.hard_share is reached (linear in between)", ge=0, le=1
    )
    hard_candidates: int = key(8, "same-category candidates of which S's favourite becomes the hard negative", ge=2)


@dataclass
class ScorerConfig:
    width: int = key(128, "token width", ge=8)
    layers: int = key(4, "transformer encoder layers", ge=1)
    heads: int = key(8, "attention heads", ge=1)
    feedforward: int = key(256, "hidden width of the feed-forward blocks", ge=8)
    dropout: float = key(0.2, "dropout in the encoder", ge=0, lt=1)
    input_dropout: float = key(0.1, "dropout on the frozen item embeddings", ge=0, lt=1)
    focal_alpha: float = key(0.5, "focal loss: weight of the positive class", ge=0, le=1)
    focal_gamma: float = key(1.0, "focal loss: focusing exponent", ge=0)
    subset_share: float = key(
        0.4,
        "share of training outfits seen as a random subset of at least two items: every subset of an outfit is one",
        ge=0,
        le=1,
    )
    ranking_weight: float = key(
        0.0, "weight of the set-wise ranking loss: cross-entropy of the true item among same-category candidates", ge=0
    )
    epochs: int = key(20, "training epochs", ge=1)
    batch_size: int = key(128, "positive outfits per optimiser step and rank", ge=1)
    lr: float = key(1e-3, "peak learning rate (AdamW)", gt=0)
    weight_decay: float = key(1e-2, "AdamW weight decay", ge=0)
    warmup: float = key(0.05, "share of the steps with linearly rising learning rate; cosine decay after", ge=0, lt=1)
    patience: int = key(0, "early stopping: epochs without a better validation AUC; 0 never stops early", ge=0)
    negatives: NegativesConfig = section(NegativesConfig)


@dataclass
class JudgeConfig:
    share: float = key(
        0.3, "share of the training outfits kept from S for the judge; 0: S gets all, no judge", ge=0, lt=1
    )
    width: int = key(96, "token width of the judge", ge=8)
    layers: int = key(3, "transformer encoder layers of the judge", ge=1)
    heads: int = key(6, "attention heads of the judge", ge=1)
    feedforward: int = key(192, "hidden width of the judge's feed-forward blocks", ge=8)
    seed_offset: int = key(1000, "added to `seed` for the judge", ge=1)


@dataclass
class TwoStageConfig:
    candidates: int = key(48, "c, items of the student's ranking that S scores at each step", ge=1)
    share: float = key(0.5, "share of the training outfits beside which S teaches the student", gt=0, le=1)
    scored: int = key(160, "additions to an outfit that S scores at each step while teaching", ge=2)
    rounds: int = key(
        2,
        "rounds of teaching, on other outfits each; from the second on half of the additions are the student's best",
        ge=1,
    )
    audit_share: float = key(
        0.02, "share of the training outfits mined exactly as well, never those that teach", gt=0, le=0.5
    )
    audit_min: int = key(24, "smallest number of outfits mined exactly as well, but at most half of all", ge=2)
    max_regret: float = key(
        0.005,
        "largest allowed mean loss of the completed outfits against exact mining, in units of S: the upper end of its "
        "one-sided 95 % confidence interval must not exceed it",
        gt=0,
    )
    on_regret: str = key(
        "widen",
        "what to do beyond max_regret: widen doubles candidates until it holds, stop ends the run with the figures",
        choices=("widen", "stop"),
    )
    width: int = key(128, "width of the student's inner product", ge=2)
    hidden: int = key(256, "hidden width of the student's two towers", ge=2)
    steps: int = key(1500, "optimiser steps of the student per round", ge=1)
    lr: float = key(5e-3, "peak learning rate of the student (AdamW)", gt=0)


@dataclass
class TargetsConfig:
    search: str = key(
        "exact",
        "how greedy search mines training outfits: exact (S scores the whole catalogue at each step) or two_stage (S "
        "scores what a student, distilled from S, ranks highest); validation outfits are mined exactly in any case",
        choices=("exact", "two_stage"),
    )
    train_outfits: int | None = key(None, "training outfits to mine, drawn with `seed`; null: all", ge=1)
    valid_outfits: int | None = key(300, "validation outfits to mine; null: all", ge=1)
    removals: int = key(1, "different seeded removals of k items per training outfit", ge=1)
    candidates: int = key(256, "best M candidates kept with their scores at each step", ge=1)
    shard_size: int = key(16, "outfits per shard: the unit of work and of resumption", ge=1)
    candidate_block: int | None = key(
        None, "sets scored in one forward pass; null: found from the device's free memory", ge=1
    )
    wishes: list[str] = key(
        ["categories", "categories_texts"],
        "kinds of wishes that training outfits are also mined under, each of the removed items' own category or text, "
        "so that the generator learns to heed wishes; texts need a text encoder and are left out without one",
        choices=WISHES,
    )
    alpha: float = key(0.5, "weight of S against the wished texts while mining", ge=0, le=1)
    precision: str = key(
        "fp32",
        "arithmetic of S while searching; auto is bf16 where the hardware has it (GPUs, CPUs with AMX or AVX-512 bf16)",
        choices=("auto", "fp32", "bf16"),
    )
    compile: str = key(
        "auto",
        "compile S for searching (needs a C++ compiler, on GPUs Triton; twenty seconds); auto: from 5 million calls on",
        choices=("auto", "always", "never"),
    )
    two_stage: TwoStageConfig = section(TwoStageConfig)


@dataclass
class ModelConfig:
    k: int = key(2, "number of items removed from an outfit, for training and in the experiment", ge=1, le=8)
    k_max: int = key(
        3, "largest number of missing items that the generator can be asked for; it is trained on 1…k_max", ge=1, le=8
    )
    width: int = key(256, "width of the node states", ge=8)
    layers: int = key(3, "message-passing layers", ge=1)
    dropout: float = key(0.1, "dropout inside the message and update networks", ge=0, lt=1)
    aggregation: str = key(
        "sum",
        "permutation-invariant aggregation of messages",
        choices=("sum", "mean", "max", "softmax", "powermean", "attentional", "set_transformer"),
    )
    readout: str = key(
        "queries",
        "queries: k learned query nodes joined to the graph; pool: k heads on the pooled item nodes",
        choices=("queries", "pool"),
    )
    retrieval: str = key(
        "map",
        "space of the latents: item (the item embedding) or map (a learned linear map of it)",
        choices=("item", "map"),
    )
    retrieval_dim: int = key(128, "width of the learned retrieval space", ge=2)
    representation: RepresentationConfig = section(RepresentationConfig)


@dataclass
class LossConfig:
    cosine_weight: float = key(1.0, "weight of the cosine distance to the greedy targets", ge=0)
    listwise_weight: float = key(1.0, "weight of the listwise distillation of the scorer's candidate scores", ge=0)
    assignment: str = key(
        "best",
        "latents meet targets under the best assignment or in the order of selection",
        choices=("best", "ordered"),
    )
    target_temperature: float = key(0.1, "temperature of the softmax over the scorer's scores S, in units of S", gt=0)
    random_candidates: int = key(512, "random catalogue items added to each softmax with target probability 0", ge=0)
    latent_temperature: float = key(0.07, "initial value of the learned temperature of latent-item cosines", gt=0)


@dataclass
class OptimizerConfig:
    lr: float = key(1e-3, "peak learning rate (AdamW)", gt=0)
    weight_decay: float = key(1e-2, "AdamW weight decay", ge=0)
    warmup: float = key(0.05, "share of the steps with linearly rising learning rate", ge=0, lt=1)
    schedule: str = key("cosine", "learning-rate schedule after the warm-up", choices=("cosine", "constant"))
    batch_size: int = key(64, "outfits, of a representation pictures, per optimiser step and rank", ge=1)
    patience: int = key(
        0,
        "early stopping: validations without a better mean S, of a representation without a lower loss; 0: never",
        ge=0,
    )


@dataclass
class TrainerConfig:
    accelerator: str = key("auto", "cpu, gpu, mps or auto")
    devices: Any = key("auto", "number of devices, a list of device ids, or auto")
    num_nodes: int = key(1, "number of nodes", ge=1)
    strategy: str = key("auto", "auto, ddp or another of Lightning's strategy names")
    precision: str = key(
        "32-true",
        "Lightning's precision name for training",
        choices=("32-true", "16-mixed", "bf16-mixed"),
    )
    max_epochs: int = key(30, "epochs of generator or representation training", ge=1)
    gradient_clip_val: float = key(1.0, "largest gradient norm; 0 does not clip", ge=0)
    accumulate_grad_batches: int = key(1, "batches per optimiser step", ge=1)
    check_val_every_n_epoch: int = key(1, "epochs between validations", ge=1)
    log_every_n_steps: int = key(10, "optimiser steps between logged training figures", ge=1)
    limit_train_batches: Any = key(1.0, "share (float) or number (int) of training batches per epoch")
    limit_val_batches: Any = key(1.0, "share (float) or number (int) of validation batches")
    deterministic: bool = key(False, "let torch refuse nondeterministic kernels")
    fast_dev_run: bool = key(
        False, "one batch of every training stage: does it run at all? No other run takes its models for trained ones"
    )
    enable_progress_bar: bool = key(True, "show progress bars")
    timeout_minutes: int = key(240, "process-group timeout, minutes", ge=1)


@dataclass
class IndexConfig:
    kind: str = key(
        "flat",
        "how the items nearest to a latent are found, within each category: flat (all are compared, exact), ivf (those "
        "in the nearest inverted lists, in 8 bits per number) or ivf_pq (the same by product codes of pq_bytes); the "
        "best of what the lists propose are compared exactly",
        choices=("flat", "ivf", "ivf_pq"),
    )
    min_items: int = key(500, "categories with fewer items stay flat, whatever index.kind is", ge=1)
    lists: int | None = key(
        None, "ivf and ivf_pq: inverted lists of a category; null: twice the square root of its number of items", ge=1
    )
    probes: int | None = key(
        None, "ivf and ivf_pq: lists searched for a latent; null: every twelfth, and 8 at least", ge=1
    )
    pq_bytes: int | None = key(
        None,
        "ivf_pq: bytes of an item's code, a divisor of the latents' width; null: about a quarter of that width",
        choices=PQ_BYTES,
    )
    refine: int = key(4, "ivf_pq: items compared exactly for each item asked for", ge=1)


@dataclass
class ExhaustiveConfig:
    max_calls: int = key(
        1_000_000,
        "calls of S per outfit beyond which exhaustive search refuses to start and says how many it needs",
        ge=1,
    )


@dataclass
class BeamConfig:
    width: int = key(4, "partial outfits kept at every step; 1 is greedy_k", ge=1)


@dataclass
class GreedyTwoStageConfig:
    candidates: int = key(96, "c, items of the student's ranking that S scores at each step", ge=1)


@dataclass
class BeamTwoStageConfig:
    candidates: int = key(96, "c, items of the student's ranking that S scores beside each partial outfit", ge=1)
    width: int = key(4, "partial outfits kept at every step; 1 is greedy_two_stage", ge=1)


@dataclass
class GradientConfig:
    projection: str = key(
        "cosine",
        "distance by which the nearest real items are found",
        choices=("l1", "l2", "l10", "cosine"),
    )
    steps: int = key(50, "gradients of S along the ascent of the free embeddings, per restart", ge=1)
    lr: float = key(0.02, "Adam's step size, in embedding units (each part of an embedding has unit length)", gt=0)
    restarts: int = key(8, "starting points per outfit, all ascended at once", ge=1)
    choose: str = key(
        "relaxed",
        "which restart answers: relaxed (the best relaxed optimum) or projected (the best real items under S, one call "
        "of S per restart)",
        choices=("relaxed", "projected"),
    )
    start: str = key(
        "random",
        "where the ascent starts: random (free embeddings of the catalogue's mean and spread) or items (real items)",
        choices=("random", "items"),
    )
    penalty: float = key(
        0.0, "weight of the mean squared distance to the nearest allowed item, which is subtracted from S", ge=0
    )
    sequential: bool = key(
        False, "project one embedding at a time, the one nearest to an item first, and ascend again with the rest"
    )


@dataclass
class RerankConfig:
    candidates: int = key(64, "r, nearest items per latent that S chooses from", ge=1)
    joint: bool = key(True, "choose among the nearest items of all unused latents at each step, not of one")


@dataclass
class GeneratorBeamConfig:
    candidates: int = key(48, "r, nearest items per latent that the beam is built from", ge=1)
    width: int = key(4, "partial outfits kept at every step", ge=1)


@dataclass
class SweepConfig:
    outfits: int = key(100, "outfits completed at every point of a sweep, the first of those drawn", ge=1)
    k: list[int] = key([], "numbers of missing items to sweep over, as in [1,2,3]; needs outfits of k + 2 items", ge=1)
    width: list[int] = key([], "beam widths to sweep over, for beam and generator_beam", ge=1)
    candidates: list[int] = key([], "r to sweep over, for generator_rerank and generator_beam", ge=1)
    alpha: list[float] = key([], "weights of S to sweep over, with the removed items' texts as wishes", ge=0, le=1)
    methods: list[str] = key(
        ["greedy_k", "generator", "generator_rerank", "generator_beam"], "methods of the sweeps over k and alpha"
    )


@dataclass
class EvaluateConfig:
    split: str = key("test", "split that is completed", choices=("valid", "test"))
    outfits: int | None = key(1000, "outfits completed, drawn with `seed`; null: all", ge=1)
    methods: list[str] = key(
        list(COMPARED),
        f"methods compared, each NAME or NAME:OPTION=VALUE:… with options of its section, as in beam:width=8; names: "
        f"{', '.join(METHODS)}",
    )
    slow_methods: list[str] = key(
        ["exhaustive"],
        "methods, by name, that complete only the first evaluate.slow_outfits of the outfits in the comparison",
    )
    slow_outfits: int = key(100, "outfits completed by slow methods; they are among those of all other methods", ge=1)
    wishes: list[str] = key(
        ["categories", "categories_texts"],
        "experiments with wishes, each of the removed items' own category or text: are the removed items found again?",
        choices=WISHES,
    )
    wish_methods: list[str] = key(
        ["random", "most_frequent", "most_similar", "greedy_k", "generator", "generator_rerank"],
        "methods of the experiments with wishes; most_similar takes part where texts are wished",
    )
    alpha: float = key(0.5, "weight of S against wished texts", ge=0, le=1)
    resamples: int = key(2000, "bootstrap resamples of paired confidence intervals", ge=100)
    distractors: int = key(3, "wrong answers per fill-in-the-blank question", ge=1)
    draws: int = key(5, "questions and replacements drawn per outfit when S itself is measured", ge=1)
    gallery: int = key(12, "completed outfits shown as pictures in the report", ge=0)
    shard_size: int = key(16, "outfits per shard: the unit of work, the same on any number of ranks", ge=1)
    exhaustive: ExhaustiveConfig = section(ExhaustiveConfig)
    beam: BeamConfig = section(BeamConfig)
    greedy_two_stage: GreedyTwoStageConfig = section(GreedyTwoStageConfig)
    beam_two_stage: BeamTwoStageConfig = section(BeamTwoStageConfig)
    gradient: GradientConfig = section(GradientConfig)
    generator_rerank: RerankConfig = section(RerankConfig)
    generator_beam: GeneratorBeamConfig = section(GeneratorBeamConfig)
    sweep: SweepConfig = section(SweepConfig)
    representation: RepresentationReportConfig = section(RepresentationReportConfig)


@dataclass
class WandbConfig:
    mode: str = key(
        "auto",
        "auto: online with a key, offline without; off writes CSV only",
        choices=("auto", "online", "offline", "off"),
    )
    project: str = key("outfits", "W&B project")
    entity: str | None = key(None, "W&B team or user")
    name: str | None = key(None, "W&B run name; null: the run folder's name")
    tags: list[str] = key([], "W&B tags")


@dataclass
class Config:
    experiment: str = key("synthetic", "recipe: configs/experiment/NAME.yaml")
    run_dir: str | None = key(None, "the run's folder; null: runs/EXPERIMENT-TIME")
    run: str | None = key(None, "evaluate.py: folder of a finished run")
    resume: str | None = key(None, "train.py: folder of an interrupted run to continue with its own configuration")
    cache_dir: str = key("cache", "folder of embeddings, scorers and targets that runs share, keyed by content")
    seed: int = key(0, "seed of weights, batches, negatives, removals and evaluation", ge=0)
    stages: list[str] = key(
        list(MAIN_JOB), "stages to run, in this order; a stage whose product exists is not repeated", choices=STAGES
    )
    data: DataConfig = section(DataConfig)
    encoder: EncoderConfig = section(EncoderConfig)
    scorer: ScorerConfig = section(ScorerConfig)
    judge: JudgeConfig = section(JudgeConfig)
    targets: TargetsConfig = section(TargetsConfig)
    model: ModelConfig = section(ModelConfig)
    loss: LossConfig = section(LossConfig)
    optimizer: OptimizerConfig = section(OptimizerConfig)
    trainer: TrainerConfig = section(TrainerConfig)
    index: IndexConfig = section(IndexConfig)
    evaluate: EvaluateConfig = section(EvaluateConfig)
    wandb: WandbConfig = section(WandbConfig)


@dataclass
class CompleteConfig:
    run: str | None = key(None, "folder of a finished run")
    items: list[str] = key([], "the outfit in hand: ids of catalogue items, as in items=[12_1,12_3]")
    own: list[Any] = key(
        [],
        "garments of one's own in the outfit, each {image: PHOTO, text: WORDS, category: NAME} with a photo (relative "
        "to the working folder), a text or both",
    )
    text: str | None = key(None, "a text to generate an outfit from, instead of completing one")
    k: int = key(2, "number of missing items", ge=1, le=8)
    categories: list[Any] = key(
        [],
        "categories wished for: a list for all missing items, as in [shoes,bags], or a list for each, as in "
        "[[shoes],[bags]]; [] leaves them open",
    )
    texts: list[str] = key(
        [], "texts wished for: one for each missing item ('' is no wish), or a single one that stands for all"
    )
    max_items: int = key(5, "with text: largest number of items of the generated outfit", ge=1)
    size: int | None = key(None, "with text: number of items of the generated outfit; null: the best number", ge=1)
    method: str | None = key(
        None,
        "NAME or NAME:OPTION=VALUE:… as in evaluate.methods; null: generator_beam to complete an outfit, beam to "
        "generate one",
    )
    alpha: float | None = key(None, "weight of S against wished texts; null: the run's evaluate.alpha", ge=0, le=1)
    top: int = key(5, "outfits shown at most, best first", ge=1, le=100)
    out: str = key("completions.png", "picture of the shown outfits, written as PNG")
    device: str = key("cpu", "where the models run, as torch names it: cpu, cuda or mps")
    cache_dir: str | None = key(None, "folder of the run's embeddings; null: where the run left them")
    data_root: str | None = key(None, "folder of the run's data set, for pictures; null: where the run found it")
