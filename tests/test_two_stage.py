"""The student, search in two stages, and the audit that bounds what it loses."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import expit

from outfits.completion.methods import complete
from outfits.completion.search.beam import beam_search
from outfits.completion.search.greedy import greedy_k_step
from outfits.completion.search.shortlists import Shortlists
from outfits.config.schema.index import IndexConfig
from outfits.config.schema.targets import StudentArchitecture, TargetsConfig, TwoStageConfig
from outfits.data.category_rule import keeps_outfit
from outfits.errors import ArtifactError, DataError
from outfits.mining.audit import Loss, Share, audit_metrics, audit_store, audit_work, upper_bound
from outfits.mining.distillation import (
    DistillationSplit,
    teacher_scores,
    teaching_calls,
    teaching_store,
    teaching_work,
    train_student,
)
from outfits.mining.search import Miner, TwoStage, condition_tasks, mining_work
from outfits.mining.targets import Targets, TargetStore
from outfits.models.frozen import load_student
from outfits.models.student import TeacherScores, TwoTower, distil
from outfits.weights import save_network
from pipeline.targets import TargetMiner
from tests.tiny_world import CATEGORIES, GIVEN, ITEMS, REMOVED, World, call, context_with, tasks_of

CONFIG = TargetsConfig(
    candidates=4,
    candidate_block=11,
    shard_size=3,
    two_stage=TwoStageConfig(scored=12, steps=150, width=8, hidden=16, audit_min=4, lr=1e-2),
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world():
    return World()


def many_tasks(count, k=2):
    """Tasks of two or three given items of different categories, and two removed ones."""
    given, removed = [], []
    for number in range(count):
        rng = np.random.default_rng([9, number])
        chosen = rng.permutation(CATEGORIES)[: 4 + number % 2] + CATEGORIES * rng.integers(ITEMS // CATEGORIES)
        given.append(chosen[2:].tolist())
        removed.append(chosen[:2].tolist())
    return tasks_of(given, removed).asking_for(k)


def finish(store, work, order=1):
    """Computes the shards of a store that are pending, forwards or backwards."""
    compute = work(CPU)
    for shard in store.pending()[::order]:
        compute(shard)
    return store


def taught(world, folder, tasks, config=CONFIG, order=1):
    """A student taught in rounds by all tasks that are not audited; shards are run in an order."""
    student, rounds = None, []
    for number, part in enumerate(DistillationSplit.of(tasks, config, 0).rounds):
        catalogue = world.catalogue
        store = teaching_store(folder / str(number), part, config.shard_size)
        finish(store, teaching_work(store, part, world.module, catalogue, config, student, number), order)
        rounds.append((part, store))
        path = folder / f"{number}.safetensors"
        if not path.exists():
            stores = [store for _, store in rounds]
            save_network(train_student(stores, world.module, catalogue, config, 0, CPU), path, scorer_sha256="S")
        student = load_student(path, "S")
    return student, rounds


def exact_targets(world, folder, tasks):
    store = TargetStore(folder, {}, tasks, CONFIG.shard_size, CONFIG.candidates)
    return finish(store, mining_work(store, world.module, world.catalogue, CONFIG)).load()


# The student


def test_a_student_learns_scores_that_are_an_inner_product_of_outfit_and_item():
    generator = torch.Generator().manual_seed(0)
    tokens, embeddings = torch.randn(60, 6, generator=generator), torch.randn(200, 6, generator=generator)
    logits = 2 * embeddings[:, :1] * tokens[:, 0] + tokens[:, 1] + 3 * embeddings[:, 1:2]  # rank one, bias and offset
    shown = torch.stack([torch.randperm(60, generator=generator)[:20] for _ in range(160)])
    shown[:5, 15:] = -1
    said = logits[:160].gather(1, shown.clamp(min=0)).masked_fill(shown < 0, -torch.inf)
    teacher_scores = TeacherScores(embeddings[:160], shown, said)
    torch.manual_seed(0)
    student = TwoTower(StudentArchitecture(width=8, hidden=32), 6)
    distil(student, tokens, teacher_scores, steps=400, lr=1e-2, seed=0)
    with torch.inference_mode():
        queries, offsets = student.outfits(embeddings[160:])
        guesses = queries @ student.items(tokens).T + offsets[:, None]
    best = logits[160:].argmax(dim=1, keepdim=True)
    places = (guesses > guesses.gather(1, best)).sum(dim=1)
    assert (places < 3).float().mean() > 0.9
    away = (guesses.sigmoid() - logits[160:].sigmoid()).abs().mean()
    assert away < 0.5 * (0.5 - logits[160:].sigmoid()).abs().mean()


def test_shortlists_rank_by_the_inner_product_whatever_the_lengths(world):
    outfit = torch.tensor([1, 2])
    embedding = world.scorer.outfit_embeddings(outfit[None])[0]
    forbidden = world.scorer.taken_categories(outfit[None])[0]
    (ranked,), state = world.shortlists.ranked(embedding, ~forbidden[None], ITEMS)
    with torch.inference_mode():
        query, _ = world.student.outfits(embedding[None])
        guesses = (world.student.items(world.scorer.item_tokens) @ query[0]).numpy()
    allowed = np.flatnonzero(~forbidden[world.categories])
    assert ranked.tolist() == allowed[np.argsort(-guesses[allowed], kind="stable")].tolist()
    assert (np.diff(world.shortlists.guesses(state, ranked)) <= 1e-6).all()


def test_a_taught_student_ranks_what_s_prefers_higher_than_chance(world, tmp_path):
    tasks = many_tasks(60)
    student, _ = taught(world, tmp_path, tasks)
    held = many_tasks(80).take(np.arange(60, 80))
    shortlists, places = Shortlists(student, world.scorer), []
    for given in held.given:
        outfit = torch.from_numpy(given.astype(np.int64))[None]
        logits = world.scorer.addition_logits(outfit)[0]
        forbidden = world.scorer.taken_categories(outfit)
        (ranked,), _ = shortlists.ranked(world.scorer.outfit_embeddings(outfit)[0], ~forbidden, ITEMS)
        places.append(ranked.tolist().index(int(logits.argmax())) / len(ranked))
    assert np.mean(places) < 0.2  # 0.5 by chance


@pytest.mark.parametrize("pq_bytes", [None, 4, 3])
def test_product_codes_of_a_student_are_as_long_as_configured(world, pq_bytes):
    """Its vectors have two numbers more than the student's width, 8, which few code sizes divide."""
    config = IndexConfig(kind="ivf_pq", min_items=1, lists=1, probes=1, pq_bytes=pq_bytes, refine=ITEMS)
    found, exact = Shortlists(world.student, world.scorer, config), world.shortlists
    assert found._index.config.pq_bytes == (pq_bytes or 2)
    outfit = torch.tensor([[0, 7]])
    feasible = ~world.scorer.taken_categories(outfit)
    embedding = world.scorer.outfit_embeddings(outfit)[0]
    (ranked,), _ = found.ranked(embedding, feasible, ITEMS)
    (expected,), _ = exact.ranked(embedding, feasible, ITEMS)
    assert ranked.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("audited", "exactly"),
    [([0], ["targets"]), ([0, 1, 2], ["targets"]), ([0, 1], ["targets-audit", "targets"])],
    ids=["one outfit audited twice", "all audited", "some audited"],
)
def test_kinds_of_task_that_no_audit_can_bound_are_mined_exactly(monkeypatch, audited, exactly):
    tasks, mined = many_tasks(6), []
    tasks = replace(tasks, outfits=np.array([0, 0, 1, 1, 2, 2]))
    trace = SimpleNamespace(calls=np.ones(6, dtype=np.int64))

    def mine(self, name, tasks, two_stage=None):
        mined.append(name)
        return SimpleNamespace(trace=trace, tasks=tasks)

    monkeypatch.setattr(TargetMiner, "mine", mine)
    monkeypatch.setattr(TargetMiner, "_audits", lambda *_: ([], 0, None))
    monkeypatch.setattr(Targets, "joined", lambda *_: None)
    miner = TargetMiner(SimpleNamespace(log=lambda *_: None), None, None)
    student = SimpleNamespace(split=SimpleNamespace(audited=np.array(audited)))
    miner._mine_audited(student, "targets", tasks)
    assert mined == exactly


def test_a_student_in_a_file_is_the_same_and_knows_its_teacher(world, tmp_path):
    path = tmp_path / "student.safetensors"
    save_network(world.student, path, scorer_sha256="S")
    again = load_student(path, "S")
    tokens = world.scorer.item_tokens.clone()
    assert torch.equal(again.items(tokens), world.student.items(tokens))
    with pytest.raises(ArtifactError, match="another scorer"):
        load_student(path, "T")


# Teaching


def test_audited_outfits_never_teach_and_every_round_has_its_own():
    tasks = many_tasks(40)
    split = DistillationSplit.of(tasks, CONFIG, 0)
    teaching = [set(part.outfits.tolist()) for part in split.rounds]
    assert len(split.audited) == 4
    assert not teaching[0] & teaching[1]
    assert sum(map(len, teaching)) == 20
    assert not (teaching[0] | teaching[1]) & set(split.audited.tolist())
    assert set(DistillationSplit.of(tasks, CONFIG, 1).audited.tolist()) != set(split.audited.tolist())
    with pytest.raises(DataError, match="targets.search=exact"):
        DistillationSplit.of(many_tasks(3), CONFIG, 0)


def test_lessons_are_scores_of_s_and_count_their_calls(world, tmp_path):
    tasks = many_tasks(40)
    student, rounds = taught(world, tmp_path, tasks)
    for part, store in rounds:
        scores = teacher_scores([store])
        known = scores.candidates >= 0
        assert teaching_calls([store]) == int(known.sum()) + 2 * len(part)
        for row, given in enumerate(part.given):
            state = scores.candidates[2 * row], scores.logits[2 * row], given.tolist()
            for item, logit in zip(*(part[:3].tolist() for part in state[:2]), strict=True):
                assert world.logit([*given.tolist(), item]) == pytest.approx(logit, abs=1e-4)
                assert world.categories[item] not in world.categories[given]
            best = int(state[0][state[1].argmax()])
            second = scores.candidates[2 * row + 1]
            assert world.categories[best] not in world.categories[second[second >= 0]]
    assert isinstance(student, TwoTower)


def test_a_student_does_not_depend_on_the_order_of_shards_or_on_damage(world, tmp_path):
    tasks = many_tasks(30)
    taught(world, tmp_path / "one", tasks)
    _, rounds = taught(world, tmp_path / "other", tasks, order=-1)
    weights = (tmp_path / "one" / "1.safetensors").read_bytes()
    assert (tmp_path / "other" / "1.safetensors").read_bytes() == weights
    (tmp_path / "other" / "1" / "shard-000000.npz").write_bytes(b"PK")
    (tmp_path / "other" / "1.safetensors").unlink()
    assert rounds[1][1].pending() == [0]
    taught(world, tmp_path / "other", tasks)
    assert (tmp_path / "other" / "1.safetensors").read_bytes() == weights


# Search


@pytest.mark.parametrize("kind", ["free", "categories", "texts", "categories_texts"])
def test_shortlists_as_long_as_the_catalogue_select_what_exact_search_selects(world, kind):
    tasks = tasks_of(GIVEN[:4], REMOVED[:4])
    tasks = tasks.asking_for(3) if kind == "free" else condition_tasks(tasks, kind, world.catalogue, 0.3)
    exact = Miner(world.module, world.catalogue, CONFIG, CPU).mine(tasks)
    two_stage = TwoStage(world.student, ITEMS)
    found = Miner(world.module, world.catalogue, CONFIG, CPU, two_stage).mine(tasks)
    np.testing.assert_array_equal(found.chosen, exact.chosen)
    np.testing.assert_array_equal(found.candidates, exact.candidates)
    np.testing.assert_array_equal(found.calls, exact.calls + tasks.k)
    if kind != "free":
        np.testing.assert_array_equal(found.slots, exact.slots)
        np.testing.assert_allclose(found.candidate_similarity, exact.candidate_similarity, atol=1e-6)


def test_a_beam_over_shortlists_as_long_as_the_catalogue_is_beam_search(world):
    outfits, wanted = torch.tensor([[0, 7], [1, 2]]), np.array([[3, 4], [3, 5]])
    exact = beam_search(world.query(outfits, 3, rank_of=wanted), 4)
    found = beam_search(world.shortlists.narrowed(world.query(outfits, 3, rank_of=wanted), ITEMS, every_slot=True), 4)
    np.testing.assert_array_equal(found.chosen, exact.chosen)
    np.testing.assert_array_equal(found.ranks, exact.ranks)
    np.testing.assert_array_equal(found.calls, exact.calls + 1 + 2 * 4)


def test_no_step_scores_more_than_its_shortlist(world):
    outfits = torch.tensor([[0, 7], [1, 2]])
    before = world.scorer.calls
    trace = greedy_k_step(world.shortlists.narrowed(world.query(outfits, 3, candidates_kept=8), 5))
    assert trace.calls.tolist() == [3 * (5 + 1)] * 2
    assert trace.calls.sum() == world.scorer.calls - before
    assert ((trace.candidates >= 0).sum(axis=2) == 5).all()
    exact = greedy_k_step(world.query(outfits, 3))
    assert (trace.logits[:, 0] <= exact.logits[:, 0] + 1e-5).all()


def test_a_conditioned_text_puts_its_items_on_the_shortlist(world):
    tasks = condition_tasks(tasks_of(GIVEN[:4], REMOVED[:4]), "texts", world.catalogue, 0.0)
    assert len(tasks) > 1
    miner = Miner(world.module, world.catalogue, CONFIG, CPU, TwoStage(world.student, 3))
    exact = Miner(world.module, world.catalogue, CONFIG, CPU).mine(tasks)
    np.testing.assert_array_equal(miner.mine(tasks).chosen, exact.chosen)  # alpha 0: the text alone decides


@pytest.mark.parametrize("name", ["greedy_two_stage", "beam_two_stage"])
@pytest.mark.parametrize("kind", ["free", "categories", "categories_texts"])
def test_methods_keep_the_rule_and_the_conditions(world, name, kind):
    tasks = tasks_of(GIVEN[:4], REMOVED[:4])
    if kind != "free":
        tasks = condition_tasks(tasks, kind, world.catalogue, 0.5)
    context = context_with(world)
    completions = complete(call(f"{name}:candidates=2"), tasks, context)
    assert keeps_outfit(tasks.given, completions.chosen, world.categories).all()
    if kind != "free":
        assert (world.categories[completions.chosen] == world.categories[tasks.removed]).all()
    with pytest.raises(ArtifactError, match="student"):
        complete(call(name), tasks, world.context_of(scorer_module=world.module))


# The audit


def audited(world, folder, exact, two_stage):
    """A finished audit, and the work that finishes it again."""
    store = audit_store(folder, exact, CONFIG.shard_size)
    work = audit_work(store, exact, world.module, world.catalogue, CONFIG, two_stage)
    return finish(store, work), work


def test_shares_and_bounds_are_those_of_the_books():
    share = Share.of(np.array([True] * 9 + [False]))
    # Clopper and Pearson: quantiles of Beta(9, 2) and Beta(10, 1)
    assert (share.share, share.cases) == (0.9, 10)
    assert share.low == pytest.approx(stats.beta.ppf(0.025, 9, 2))
    assert share.high == pytest.approx(stats.beta.ppf(0.975, 10, 1))
    losses = np.array([0.0, 0.0, 0.0, 0.01, 0.0, 0.04, 0.0, 0.0, -0.01, 0.0])
    loss = Loss.of(losses)
    assert loss.mean == pytest.approx(0.004)
    assert loss.bound >= 0.004 + stats.t.ppf(0.95, 9) * losses.std(ddof=1) / 10**0.5 - 1e-12
    assert loss.bound < 0.03
    assert (loss.largest, loss.worse.share) == (0.04, 0.2)
    assert upper_bound(np.zeros(5)) == 0
    few = np.array([0.0, 0.01, 0.02])  # where the bootstrap cannot see beyond the largest
    assert upper_bound(few) == pytest.approx(0.01 + stats.t.ppf(0.95, 2) * 0.01 / 3**0.5)
    assert upper_bound(losses) == upper_bound(losses)
    with pytest.raises(ValueError, match="two"):
        Loss.of(losses[:1])


@pytest.mark.parametrize("kind", ["free", "categories_texts"])
def test_audit_figures_are_those_of_a_comparison_by_hand(world, tmp_path, kind):
    tasks, c = tasks_of(GIVEN[:4], REMOVED[:4]), 3 if kind == "free" else 1  # eight items have a conditions category
    tasks = tasks.asking_for(3) if kind == "free" else condition_tasks(tasks, kind, world.catalogue, 0.95)
    exact = exact_targets(world, tmp_path / "exact", tasks)
    two_stage = TwoStage(world.student, c)
    metrics, calls = audit_metrics(audited(world, tmp_path / "audit", exact, two_stage)[0], exact, c)
    found = Miner(world.module, world.catalogue, CONFIG, CPU, two_stage).mine(tasks)

    def score(row, chosen):
        return expit(world.logit([*tasks.given[row], *chosen]))

    def objective(row, chosen, slots):
        conditions = tasks.conditions
        similarity = world.similarity(conditions.texts[row])
        texts = sum(similarity[slot, item] for item, slot in zip(chosen, slots, strict=True))
        return conditions.alpha * score(row, chosen) + (1 - conditions.alpha) * texts

    regret = [score(row, exact.trace.chosen[row]) - score(row, found.chosen[row]) for row in range(len(tasks))]
    assert metrics.regret.mean == pytest.approx(np.mean(regret), abs=1e-5)
    assert metrics.regret.largest == pytest.approx(np.max(regret), abs=1e-5)
    assert max(regret) > 0.001, "too easy to show anything"
    assert metrics.outfits == len(tasks)
    assert metrics.calls == found.calls.mean()
    assert calls == found.calls.sum() + 2 * tasks.k * len(tasks)
    if kind == "free":
        assert metrics.objective_regret is None
        assert metrics.calls == tasks.k * (c + 1)
        listed = []
        for row, given in enumerate(tasks.given):
            for step in range(tasks.k):
                outfit = torch.tensor([*given, *exact.trace.chosen[row, :step]])[None]
                embedding = world.scorer.outfit_embeddings(outfit)[0]
                (ranked,), _ = world.shortlists.ranked(embedding, ~world.scorer.taken_categories(outfit), c)
                listed.append(exact.trace.chosen[row, step] in ranked)
        assert metrics.recall.share == np.mean(listed)
        assert metrics.recall_first.share == np.mean(listed[:: tasks.k])
        assert metrics.bound == metrics.regret.bound
    else:
        losses = [
            objective(row, exact.trace.chosen[row], exact.trace.slots[row])
            - objective(row, found.chosen[row], found.slots[row])
            for row in range(len(tasks))
        ]
        assert metrics.objective_regret.mean == pytest.approx(np.mean(losses), abs=1e-5)
        assert metrics.bound == metrics.objective_regret.bound
    assert json.loads(json.dumps(asdict(metrics)))["outfits"] == len(tasks)
    assert "recall" not in str(metrics)
    assert f"shortlists of {c}" in str(metrics)


def test_a_shortlist_of_everything_lists_every_choice_and_loses_nothing(world, tmp_path):
    tasks = condition_tasks(tasks_of(GIVEN[:4], REMOVED[:4]), "categories", world.catalogue, 0.4)
    exact = exact_targets(world, tmp_path / "exact", tasks)
    two_stage = TwoStage(world.student, ITEMS)
    metrics, _ = audit_metrics(audited(world, tmp_path / "audit", exact, two_stage)[0], exact, ITEMS)
    assert metrics.recall.share == metrics.recall_first.share == 1
    assert metrics.regret.bound == pytest.approx(0, abs=1e-6)
    assert metrics.regret.worse.share == 0


def test_a_damaged_audit_shard_is_pending_again_and_ends_the_same(world, tmp_path):
    exact = exact_targets(world, tmp_path / "exact", tasks_of())
    two_stage = TwoStage(world.student, 3)
    store, work = audited(world, tmp_path / "audit", exact, two_stage)
    before = audit_metrics(store, exact, 3)
    (tmp_path / "audit" / "shard-000001.npz").write_bytes(b"")
    with pytest.raises(ArtifactError, match="1 of 2 shards"):
        audit_metrics(store, exact, 3)
    assert store.pending() == [1]
    assert audit_metrics(finish(store, work), exact, 3) == before


def test_targets_mined_in_parts_stand_in_the_order_of_the_tasks(world, tmp_path):
    tasks = tasks_of()
    whole = exact_targets(world, tmp_path / "whole", tasks)
    parts = [
        (rows, exact_targets(world, tmp_path / str(number), tasks.take(rows)))
        for number, rows in enumerate((np.array([1, 4]), np.array([0, 2, 3])))
    ]
    joined = Targets.joined(tasks, parts)
    np.testing.assert_array_equal(joined.trace.chosen, whole.trace.chosen)
    np.testing.assert_array_equal(joined.trace.candidates, whole.trace.candidates)
