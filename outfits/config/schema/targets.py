"""Keys of the targets that greedy search mines for the generator."""

from dataclasses import dataclass

from outfits.config.fields import key, section
from outfits.config.schema import training

CONDITION_KINDS = ("categories", "texts", "categories_texts")


@dataclass
class StudentArchitecture:
    """Architecture of the student of S, besides the width of S's tokens."""

    width: int = key(128, "width of the student's inner product", ge=2)
    hidden: int = key(256, "hidden width of the student's two towers", ge=2)


@dataclass
class TwoStageConfig(StudentArchitecture):
    """Search with a student and its training: section ``targets.two_stage``."""

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
        "what to do beyond max_regret: widen doubles candidates until it holds, stop ends the run with the metrics",
        choices=("widen", "stop"),
    )
    steps: int = key(1500, "optimiser steps of the student per round", ge=1)
    lr: float = training.lr(5e-3, "peak learning rate of the student")


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
    conditions: list[str] = key(
        ["categories", "categories_texts"],
        "kinds of conditions that training outfits are also mined under, each of the removed items' category or text, "
        "so that the generator learns to heed conditions; texts need a text encoder and are left out without one",
        choices=CONDITION_KINDS,
    )
    alpha: float = key(0.5, "weight of S against the texts of conditions while mining", ge=0, le=1)
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
    states: str = key(
        "whole",
        "what every rank keeps of S's states of items, 16 bytes per item and unit of scorer.width: whole, or dealt, "
        "its share of them, and all ranks search for the same outfits together, with equal results",
        choices=("whole", "dealt"),
    )
    two_stage: TwoStageConfig = section(TwoStageConfig)
