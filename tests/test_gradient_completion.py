"""Completion by gradient against scorers of known optimum and slope, and against brute force."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from outfits.completion.conditions import Conditions
from outfits.completion.gradient.completion import gradient_completion
from outfits.completion.gradient.projection import ItemSpace, project
from outfits.completion.gradient.relaxation import RelaxedTask, ascend, relaxed_value, text_similarity
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.methods import GradientConfig
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.data.catalogue import ItemEmbeddings
from outfits.data.category_rule import forbidden_categories, keeps_outfit
from outfits.errors import DataError
from outfits.models.compatibility import OutfitTransformer
from outfits.models.similarity import TextSimilarity
from outfits.weights import weights_digest

ITEMS, CATEGORIES, IMAGE, TEXT = 60, 7, 5, 4
OPTIONS = GradientConfig(projection="cosine", steps=20, lr=0.05, restarts=4)


def catalogue(image=IMAGE, text=TEXT, items=ITEMS, missing=0.1, shared=False, seed=0):
    """Items whose parts have unit length; some lack a part."""
    rng = np.random.default_rng(seed)
    present = rng.random((items, 2)) >= missing
    parts = []
    for number, width in enumerate((image, text)):
        part = rng.normal(size=(items, width))
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
        parts.append(part * present[:, number, None])
    vectors = np.concatenate(parts, axis=1).astype(np.float32)
    present &= np.array([image > 0, text > 0])
    return ItemEmbeddings(vectors, present, image, text, shared_space=shared)


def transformer(image=IMAGE, text=TEXT, scale=2.5):
    torch.manual_seed(0)
    module = OutfitTransformer(ScorerArchitecture(width=16, layers=2, heads=2, feedforward=24), image, text)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(scale)
    return module.eval().requires_grad_(False)


class Known(OutfitTransformer):
    """A scorer whose tokens are the embeddings and whose logit is a given function of their sum."""

    def __init__(self, image, text, logit):
        super().__init__(ScorerArchitecture(width=4, layers=1, heads=2, feedforward=4), image, text)
        self.logit = logit
        self.seen = []
        self.eval().requires_grad_(False)

    def tokens(self, vectors, present):
        return vectors

    def forward_tokens(self, tokens, padding=None):
        self.seen.append(tokens.detach().clone())
        return self.logit(tokens.sum(dim=1))


def parabola(target):
    return Known(IMAGE, TEXT, lambda total: -(total - target).square().sum(dim=1))


class World:
    def __init__(self, items=None, scorer=None, given=((0, 8, 16), (1, 9, 3), (5, 6, 7))):
        self.items = catalogue() if items is None else items
        self.categories = np.arange(len(self.items.vectors)) % CATEGORIES
        self.scorer = transformer(self.items.image_dim, self.items.text_dim) if scorer is None else scorer
        self.given = np.array(given)

    def complete(
        self,
        options=OPTIONS,
        *,
        k=2,
        rows=None,
        given=None,
        conditions=None,
        seed=3,
        choose=None,
        device="cpu",
        space=None,
    ):
        options = options if choose is None else replace(options, choose=choose)
        space = ItemSpace(self.items, self.categories, CATEGORIES, device) if space is None else space
        rows = np.arange(len(self.given)) if rows is None else np.array(rows)
        given = self.given[rows] if given is None else np.array(given)
        removed, zeros = np.empty((len(rows), 0), dtype=np.int32), np.zeros_like(rows)
        return gradient_completion(
            self.scorer,
            space,
            CompletionTasks(list(given), removed, rows, zeros, missing=k, conditions=conditions),
            [self.items.take(items) for items in given],
            forbidden_categories(given, self.categories, CATEGORIES),
            options,
            seed,
        )

    def scores(self, chosen):
        sets = np.concatenate([self.given, chosen], axis=1)
        logits = self.scorer(torch.from_numpy(self.items.vectors[sets]), torch.from_numpy(self.items.present[sets]))
        return torch.sigmoid(logits.double()).numpy()


@pytest.fixture(scope="module")
def world():
    return World()


def equal(one, other):
    arrays = other.arrays()
    return all(np.array_equal(array, arrays[name]) for name, array in one.arrays().items())


def task_of(world, given, k, penalty=0.0, texts=None, alpha=1.0):
    space = ItemSpace(world.items, world.categories, CATEGORIES)
    return RelaxedTask(
        world.scorer.tokens(space.vectors[given], space.present[given]),
        space,
        torch.ones(len(given), k, CATEGORIES, dtype=torch.bool),
        texts,
        torch.full((len(given),), alpha, dtype=torch.float64),
        penalty,
    )


@pytest.mark.parametrize("shared", [False, True])
def test_slope_is_the_derivative_of_the_objective(shared):
    world = World(catalogue(4, 4, missing=0, shared=shared))
    world.scorer.double()
    world.items = replace(world.items, vectors=world.items.vectors.astype(np.float64))
    space = ItemSpace(world.items, world.categories, CATEGORIES)
    space.vectors = space.vectors.double()
    rng = np.random.default_rng(1)
    texts = rng.normal(size=(2, 2, 4))
    texts[0, 1] = 0
    given = np.array([[0, 8], [1, 9]])
    task = RelaxedTask(
        world.scorer.tokens(space.vectors[given], space.present[given]),
        space,
        torch.ones(2, 2, CATEGORIES, dtype=torch.bool),
        torch.from_numpy(texts),
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        penalty=0.4,
    )
    points, nearest = torch.from_numpy(rng.normal(size=(2, 2, 2, 8)))
    value = relaxed_value(world.scorer, task, points, nearest)
    cosine = torch.nn.functional.cosine_similarity(points[..., 4:], task.texts, dim=-1)
    if shared:
        cosine = (cosine + torch.nn.functional.cosine_similarity(points[..., :4], task.texts, dim=-1)) / 2
    expected = task.alpha * value.scores + (1 - task.alpha) * cosine.sum(dim=1)
    expected -= 0.4 * (points - nearest).square().sum(dim=(1, 2)) / 2
    assert value.objectives.numpy() == pytest.approx(expected.numpy(), rel=1e-9)
    step = 1e-5
    for place in product(range(2), range(2), range(8)):
        moved = points.clone()
        moved[place] += step
        up = relaxed_value(world.scorer, task, moved, nearest)
        moved[place] -= 2 * step
        down = relaxed_value(world.scorer, task, moved, nearest)
        for slope, now, then in (
            (value.slope, up.objectives, down.objectives),
            (value.score_slope, up.scores, down.scores),
        ):
            assert slope[place].item() == pytest.approx((now - then)[place[0]].item() / (2 * step), rel=1e-4, abs=1e-7)


def test_ascent_reaches_a_known_optimum():
    target = torch.linspace(-1, 1, IMAGE + TEXT)
    world = World(scorer=parabola(target))
    task = task_of(world, world.given, 2)
    start = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 2, IMAGE + TEXT))).float()
    optimum = ascend(world.scorer, task, start, steps=400, lr=0.05)
    torch.testing.assert_close(
        optimum.points.sum(dim=1) + task.given.sum(dim=1), target.expand(3, -1), atol=0.02, rtol=0
    )
    assert optimum.scores.numpy() == pytest.approx(0.5, abs=1e-3)
    assert optimum.scores.max() <= 0.5


def brute_force(points, world, feasible, distance):
    metric = {"l1": ("minkowski", 1), "l2": ("minkowski", 2), "l10": ("minkowski", 10), "cosine": ("cosine", None)}
    name, p = metric[distance]
    options = {} if p is None else {"p": p}
    apart = cdist(points.double().numpy(), world.items.vectors.astype(np.float64), name, **options)
    best = None
    for items in permutations(range(len(world.categories)), len(points)):
        categories = world.categories[list(items)]
        if len(set(categories)) < len(items) or not feasible[range(len(items)), categories].all():
            continue
        total = sum(apart[place, item] for place, item in enumerate(items))
        if best is None or total < best[0]:
            best = (total, items)
    return best


@pytest.mark.parametrize("distance", ["l1", "l2", "l10", "cosine"])
def test_projection_is_the_nearest_of_all_sets_that_keep_the_rule(distance):
    world = World(catalogue(missing=0))
    space = ItemSpace(world.items, world.categories, CATEGORIES)
    rng = np.random.default_rng(4)
    points = torch.from_numpy(rng.normal(size=(8, 2, IMAGE + TEXT))).float()
    points[:4, 1] = points[:4, 0] + 0.01  # two embeddings that want the same item
    feasible = rng.random((8, 2, CATEGORIES)) < 0.6
    feasible[:, 0, 0], feasible[:, 1, 1] = True, True
    chosen, distances = project(points, space, feasible, distance)
    for row in range(8):
        total, items = brute_force(points[row], world, feasible[row], distance)
        assert chosen[row].tolist() == list(items)
        assert distances[row].sum() == pytest.approx(total, rel=1e-5)


def test_cosine_to_an_item_without_any_part_is_zero():
    items = catalogue(items=2, missing=0)
    items.vectors[0] = 0
    space = ItemSpace(items, np.array([0, 1]), 2)
    points = -torch.from_numpy(items.vectors[1:2])
    apart, _ = space.nearest_of_each_category(points, np.ones(2, dtype=np.bool_), "cosine")
    assert apart[0] == pytest.approx([1, 2], abs=1e-5)


def test_equally_near_items_go_to_the_smaller_position():
    items = catalogue(items=6, missing=0)
    items.vectors[:] = items.vectors[0]
    space = ItemSpace(items, np.array([1, 0, 1, 0, 1, 0]), 2)
    for distance in ("l1", "l2", "l10", "cosine"):
        _, found = space.nearest_of_each_category(torch.ones(1, IMAGE + TEXT), np.ones(2, dtype=np.bool_), distance)
        assert found.tolist() == [[1, 0]]


def test_nearest_item_of_the_penalty_is_the_nearest_open_one(world, monkeypatch):
    monkeypatch.setattr("outfits.completion.gradient.projection._COLUMNS", 11)
    space = ItemSpace(world.items, world.categories, CATEGORIES)
    rng = np.random.default_rng(5)
    points, feasible = rng.normal(size=(9, IMAGE + TEXT)).astype(np.float32), rng.random((9, CATEGORIES)) < 0.5
    feasible[:, 2] = True
    apart = np.where(feasible[:, world.categories], cdist(points, world.items.vectors), np.inf)
    found = space.nearest(torch.from_numpy(points), torch.from_numpy(feasible))
    assert found.tolist() == apart.argmin(axis=1).tolist()


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("start", ["random", "items"])
def test_completions_are_outfits(world, start, sequential):
    options = replace(OPTIONS, start=start, sequential=sequential, penalty=0.1)
    for k in (1, 2, 4):
        found = world.complete(options, k=k)
        assert found.chosen.shape == (3, k)
        assert keeps_outfit(world.given, found.chosen, world.categories).all()
        assert ((found.relaxed > 0) & (found.relaxed <= 1)).all()
        assert (found.lipschitz > 0).all()


@pytest.mark.parametrize("sequential", [False, True])
def test_each_item_answers_its_own_condition(world, sequential):
    allowed = np.zeros((3, 3, CATEGORIES), dtype=np.bool_)
    free = [[c for c in range(CATEGORIES) if c not in world.categories[row]] for row in world.given]
    for row, columns in enumerate(free):
        allowed[row, 0, columns[2]] = allowed[row, 1, columns[:2]] = allowed[row, 2, columns[0]] = True
    conditions = Conditions(allowed, np.zeros((3, 3, TEXT), dtype=np.float32))
    for choose in ("relaxed", "projected"):
        found = world.complete(replace(OPTIONS, sequential=sequential), k=3, conditions=conditions, choose=choose)
        for row, columns in enumerate(free):
            assert world.categories[found.chosen[row]].tolist() == [columns[2], columns[1], columns[0]]


@pytest.mark.parametrize("sequential", [False, True])
def test_texts_alone_give_the_items_nearest_to_them(sequential):
    world = World(catalogue(image=0, text=6, missing=0))
    texts = world.items.vectors[[[20, 33], [40, 40], [51, 30]]] + np.float32(0.05)  # the second wants one item twice
    texts /= np.linalg.norm(texts, axis=2, keepdims=True)
    conditions = Conditions(np.ones((3, 2, CATEGORIES), dtype=np.bool_), texts, alpha=0.0)
    options = replace(OPTIONS, steps=400, sequential=sequential)
    found = world.complete(options, conditions=conditions)
    for row, given in enumerate(world.given):
        cosine = texts[row] @ world.items.vectors.T
        free = np.flatnonzero(~np.isin(world.categories, world.categories[given])).tolist()
        best = max(
            cosine[0, one] + cosine[1, other]
            for one, other in permutations(free, 2)
            if world.categories[one] != world.categories[other]
        )
        assert cosine[[0, 1], found.chosen[row]].sum() == pytest.approx(best, abs=1e-5)
    swapped = world.complete(options, conditions=replace(conditions, texts=texts[:, ::-1].copy()))
    assert np.array_equal(swapped.chosen[[0, 2]], found.chosen[[0, 2], ::-1])


def test_alpha_of_one_heeds_no_text(world):
    texts = np.zeros((3, 2, TEXT), dtype=np.float32)
    texts[:, :, 0] = 1
    conditions = Conditions(np.ones((3, 2, CATEGORIES), dtype=np.bool_), texts, alpha=1.0)
    assert equal(world.complete(conditions=conditions), world.complete())


def test_outfits_without_a_text_are_completed_as_without_conditions(world):
    texts = np.zeros((3, 2, TEXT), dtype=np.float32)
    texts[1, 0, 0] = 1
    conditions = Conditions(np.ones((3, 2, CATEGORIES), dtype=np.bool_), texts, alpha=0.2)
    options = replace(OPTIONS, penalty=0.1)
    mixed, plain = world.complete(options, conditions=conditions), world.complete(options)
    assert np.array_equal(mixed.chosen[[0, 2]], plain.chosen[[0, 2]])
    assert np.array_equal(mixed.relaxed[[0, 2]], plain.relaxed[[0, 2]])
    assert mixed.relaxed[1] != plain.relaxed[1]


@pytest.mark.parametrize("shared", [False, True])
def test_text_similarity_of_real_items_is_that_of_the_searches(shared):
    items = catalogue(4, 4, missing=0.3, shared=shared)
    space = ItemSpace(items, np.arange(ITEMS) % CATEGORIES, CATEGORIES)
    texts = catalogue(4, 0, items=3, missing=0).vectors
    texts[1] = 0
    expected = TextSimilarity(items)(texts)
    for text, similarity in zip(texts, expected, strict=True):
        conditions = torch.from_numpy(np.array(text)).expand(ITEMS, 1, -1)
        found = text_similarity(space.vectors[:, None], space.present[:, None], conditions, space)
        assert found[:, 0].numpy() == pytest.approx(similarity, abs=1e-5)


def test_sequential_projection_ascends_again_beside_the_real_item():
    world = World(catalogue(missing=0), parabola(torch.linspace(-1, 1, IMAGE + TEXT)))
    options = replace(OPTIONS, restarts=1, sequential=True, projection="l2", steps=40)
    found = world.complete(options)
    sizes = [tokens.shape[1] for tokens in world.scorer.seen]
    assert sizes == [5] * 40  # three given items and two others at every step
    for row in range(3):
        outfit = row * 4  # an outfit takes four rows of a forward pass
        second = torch.stack([tokens[outfit, 3] for tokens in world.scorer.seen[20:]])
        assert (second == second[0]).all()  # the item that was fixed first, at its place after the given ones
        assert any(torch.equal(second[0], torch.from_numpy(world.items.vectors[item])) for item in found.chosen[row])
        first = torch.stack([tokens[outfit, 3] for tokens in world.scorer.seen[:20]])
        assert not (first == first[0]).all()


def test_sequential_projection_makes_up_for_what_the_first_projection_lost():
    target = torch.linspace(-1, 1, IMAGE + TEXT)
    world = World(catalogue(items=600, missing=0), parabola(target), given=[(i, i + 8, i + 16) for i in range(20)])
    options = replace(OPTIONS, steps=200, projection="l2")
    plain, repaired = world.complete(options), world.complete(replace(options, sequential=True))
    assert world.scores(repaired.chosen).mean() > world.scores(plain.chosen).mean()


def test_penalty_keeps_the_optimum_near_real_items(world):
    moved = [world.complete(replace(OPTIONS, penalty=penalty)).moved.mean() for penalty in (0.0, 0.3, 3.0)]
    assert moved[0] > moved[1] > moved[2]


def test_more_restarts_never_lower_the_relaxed_optimum(world):
    relaxed = np.stack([world.complete(replace(OPTIONS, restarts=restarts)).relaxed for restarts in (1, 2, 5, 9)])
    assert (np.diff(relaxed, axis=0) > -1e-5).all()
    assert (relaxed[-1] > relaxed[0]).any()


def test_choosing_among_projections_never_ends_below_fewer_restarts_or_the_relaxed_choice(world):
    scores = []
    for restarts in (1, 2, 5, 9):
        options = replace(OPTIONS, restarts=restarts)
        scores.append(world.scores(world.complete(options, choose="projected").chosen))
        assert (scores[-1] >= world.scores(world.complete(options).chosen) - 1e-6).all()
    assert (np.diff(scores, axis=0) > -1e-6).all()
    assert (scores[-1] > scores[0]).any()


def test_starts_from_items_are_real_items_of_different_open_categories():
    world = World(catalogue(missing=0))
    options = replace(OPTIONS, start="items", steps=1, restarts=6)
    found = world.complete(options, k=4)  # one step: the best place is the start itself
    assert found.moved == pytest.approx(0, abs=1e-5)
    assert keeps_outfit(world.given, found.chosen, world.categories).all()
    assert found.relaxed == pytest.approx(world.scores(found.chosen), abs=1e-6)


def test_parts_that_an_item_lacks_start_at_the_mean():
    world = World(catalogue(missing=0.5), parabola(torch.zeros(IMAGE + TEXT)))
    world.complete(replace(OPTIONS, start="items", restarts=32, steps=1))
    points = torch.cat([tokens[:, 3:] for tokens in world.scorer.seen]).flatten(0, 1).numpy()
    for part, number in ((slice(0, IMAGE), 0), (slice(IMAGE, None), 1)):
        has_part = world.items.present[:, number]
        real = world.items.vectors[has_part, part]
        real = np.concatenate([real, real.mean(axis=0, keepdims=True)])
        apart = cdist(points[:, part], real)
        assert apart.min(axis=1) == pytest.approx(0, abs=1e-6)
        assert (apart.argmin(axis=1) == len(real) - 1).any()


def test_random_starts_have_the_mean_and_the_spread_of_the_catalogue():
    world = World(catalogue(missing=0.3), parabola(torch.zeros(IMAGE + TEXT)))
    world.complete(replace(OPTIONS, restarts=1000, steps=1))
    points = torch.cat([tokens[:, 3:] for tokens in world.scorer.seen]).flatten(0, 1).numpy()
    for part, number in ((slice(0, IMAGE), 0), (slice(IMAGE, None), 1)):
        real = world.items.vectors[world.items.present[:, number], part]
        assert points[:, part].mean(axis=0) == pytest.approx(real.mean(axis=0), abs=0.03)
        assert points[:, part].std(axis=0) == pytest.approx(real.std(axis=0), abs=0.03)


@pytest.mark.parametrize("sequential", [False, True])
def test_lipschitz_bound_approaches_the_true_constant_from_below(sequential):
    weight = torch.linspace(-1, 2, IMAGE + TEXT)
    scorer = Known(IMAGE, TEXT, lambda total: total @ weight - 8)  # S passes 1/2, where its slope is largest
    true = 0.25 * weight.norm().item()  # |S - S'| ≤ 1/4 |w · Σ (z - z')| ≤ 1/4 |w| Σ |z - z'|
    world = World(scorer=scorer)
    for lr in (0.005, 0.05, 0.5):
        bound = world.complete(replace(OPTIONS, steps=200, lr=lr, sequential=sequential)).lipschitz
        assert (bound <= true * (1 + 1e-6)).all()
        assert lr > 0.05 or (bound > 0.98 * true).all()


def test_lipschitz_bound_covers_the_path(world):
    task = task_of(world, world.given, 2)
    start = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 2, IMAGE + TEXT))).float()
    path = [ascend(world.scorer, task, start, steps=steps, lr=0.3) for steps in range(1, 12)]
    for one, other in zip(path, path[1:], strict=False):
        assert (other.lipschitz >= one.lipschitz).all()
    moved = (path[-1].points - path[0].points).norm(dim=2).sum(dim=1)
    assert (path[-1].scores >= path[0].scores).all()
    assert (path[-1].scores > path[0].scores).any()
    assert (path[-1].lipschitz * moved >= path[-1].scores - path[0].scores - 1e-6).all()


def test_gradients_and_calls_are_counted(world):
    assert world.complete().gradients.tolist() == [80] * 3
    assert world.complete().calls.tolist() == [0] * 3
    sequential = world.complete(replace(OPTIONS, sequential=True, steps=23), k=3, choose="projected")
    assert sequential.gradients.tolist() == [92] * 3
    assert sequential.calls.tolist() == [4] * 3


@pytest.mark.parametrize("repairs", [{}, {"start": "items", "penalty": 0.2, "sequential": True}])
def test_order_of_given_items_changes_nothing(world, repairs):
    options = replace(OPTIONS, **repairs)
    expected = world.complete(options, choose="projected")
    for order in permutations(range(3)):
        assert equal(world.complete(options, given=world.given[:, order], choose="projected"), expected)


@pytest.mark.parametrize("restarts", [1, 3, 4])
@pytest.mark.parametrize("repairs", [{}, {"start": "items", "penalty": 0.2, "sequential": True}])
def test_completion_does_not_depend_on_the_batch(restarts, repairs):
    world = World(given=[(i, i + 8, i + 16) for i in range(11)])
    options = replace(OPTIONS, restarts=restarts, **repairs)
    together = world.complete(options, choose="projected")
    order = np.random.default_rng(0).permutation(11)
    shuffled = world.complete(options, rows=order, choose="projected")
    assert equal(together.take(order), shuffled)
    for row in (0, 5, 10):
        alone = world.complete(options, rows=[row], choose="projected")
        assert equal(together.take(np.array([row])), alone)


def test_weights_and_their_gradients_are_left_alone_inside_inference_mode():
    world = World(scorer=transformer().requires_grad_(True))
    digest = weights_digest(world.scorer)
    expected = world.complete()
    with torch.inference_mode():
        assert equal(world.complete(), expected)
    assert weights_digest(world.scorer) == digest
    assert all(parameter.grad is None for parameter in world.scorer.parameters())


def test_a_prepared_space_gives_the_same(world):
    space = ItemSpace(world.items, world.categories, CATEGORIES)
    assert equal(world.complete(space=space), world.complete())


def test_another_seed_draws_other_starts(world):
    assert not np.array_equal(world.complete(seed=3).relaxed, world.complete(seed=4).relaxed)


def test_too_many_missing_items_are_one_line(world):
    with pytest.raises(DataError, match=r"outfit 0 of the batch: 5 items are missing, but only 4 categories"):
        world.complete(k=5)


def test_conditions_that_cannot_all_come_true_are_one_line(world):
    allowed = np.ones((3, 2, CATEGORIES), dtype=np.bool_)
    free = next(c for c in range(CATEGORIES) if c not in world.categories[world.given[1]])
    allowed[1] = np.arange(CATEGORIES) == free
    conditions = Conditions(allowed, np.zeros((3, 2, TEXT), dtype=np.float32))
    with pytest.raises(DataError, match="outfit 1 of the batch: the allowed categories leave missing item"):
        world.complete(conditions=conditions)


def test_mistakes_in_code_are_named(world):
    with pytest.raises(ValueError, match="choose must be relaxed or projected"):
        world.complete(choose="best")
    with pytest.raises(ValueError, match="distance must be one of l1, l2, l10, cosine"):
        world.complete(replace(OPTIONS, projection="l3"))
    texts = np.ones((3, 2, 1), dtype=np.float32)
    with pytest.raises(ValueError, match="texts of width 1"):
        world.complete(conditions=Conditions(np.ones((3, 2, CATEGORIES), dtype=np.bool_), texts))
    training = World(scorer=transformer())
    training.scorer.train()
    with pytest.raises(ValueError, match="training mode"):
        training.complete()
    broken = World(scorer=Known(IMAGE, TEXT, lambda total: total.sum(dim=1) * torch.nan))
    with pytest.raises(ValueError, match="S is not finite"):
        broken.complete()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_completes_on_a_gpu(world):
    gpu = World(scorer=transformer().cuda())
    found = gpu.complete(device="cuda", choose="projected")
    assert keeps_outfit(gpu.given, found.chosen, gpu.categories).all()
    assert found.relaxed == pytest.approx(world.complete(choose="projected").relaxed, abs=0.05)
