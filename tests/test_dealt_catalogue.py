"""S over a catalogue that is dealt to ranks, compared to the bit with S over the whole of it."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from outfits.completion.completion import SearchTrace
from outfits.completion.search import expansion
from outfits.completion.search.beam import beam_search
from outfits.completion.search.exhaustive import exhaustive_search
from outfits.completion.search.expansion import SearchQuery
from outfits.completion.search.greedy import greedy_k_step, greedy_one_step
from outfits.config.schema.targets import TargetsConfig
from outfits.mining import search as mining
from outfits.scoring import ranks as ranks_module
from outfits.scoring.candidates import CandidateScorer
from outfits.scoring.ranks import DealtScorer
from tests.tiny_world import GIVEN, REMOVED, World, tasks_of

PART = 10  # 48 items are five parts, the last of eight items
OUTFITS = [[0, 7, 14], [20, 33, 4]]
SEARCHES: dict[str, Callable[[SearchQuery], SearchTrace]] = {
    "greedy_k": greedy_k_step,
    "greedy_1": greedy_one_step,
    "beam": partial(beam_search, width=3),
    "exhaustive": partial(exhaustive_search, max_calls=10**6),
}


class ThreadRanks:
    """Ranks that are threads of this process, each with its own scorer."""

    def __init__(self, rank: int, shared: dict[str, Any]) -> None:
        self.rank, self.size, self._shared = rank, len(shared["values"]), shared

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value; a rank that never comes is an error after ten seconds."""
        self._shared["values"][self.rank] = value
        self._shared["barrier"].wait(10)
        found = list(self._shared["values"])
        self._shared["barrier"].wait(10)
        return found


def on_ranks(size: int, work: Callable[[ThreadRanks], Any]) -> list[Any]:
    """What the same work returned, or raised, on every rank."""
    shared = {"values": [None] * size, "barrier": threading.Barrier(size)}
    results: list[Any] = [None] * size

    def one(rank: int) -> None:
        try:
            results[rank] = work(ThreadRanks(rank, shared))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "CATALOGUE_PART", PART)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def dealt(world: World, ranks: ThreadRanks) -> DealtScorer:
    return DealtScorer(ranks, PART, world.module, world.vectors, world.present, world.categories, block=7)


def whole(world: World) -> CandidateScorer:
    return CandidateScorer(world.module, world.vectors, world.present, world.categories, block=7)


def assert_same(one: SearchTrace, other: SearchTrace) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("size", [2, 3, 7])  # of seven ranks two have no part
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_over_ranks_is_that_of_one_process(world: World, name: str, size: int) -> None:
    def search(scorer: CandidateScorer) -> SearchTrace:
        query = SearchQuery(
            scorer, torch.tensor(OUTFITS), 2, candidates_kept=4, rank_of=np.array([[3, 4], [2, 5]]), alternatives=3
        )
        return SEARCHES[name](query)

    expected = search(whole(world))
    for trace in on_ranks(size, lambda ranks: search(dealt(world, ranks))):
        if isinstance(trace, Exception):
            raise trace
        assert_same(trace, expected)


def test_states_of_other_shares_are_computed_once_a_block(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, blocks = dealt(world, ThreadRanks(0, {"values": [None] * 2})), []
    own = scorer._states_of_block
    monkeypatch.setattr(scorer, "_states_of_block", lambda *args: blocks.append(args[2].start) or own(*args))
    monkeypatch.setattr(ranks_module, "KEPT_STATES", 5)
    asked = torch.tensor([[45, 1, 29], [30, 46, 22], [45, 29, 29]])  # items from 20 on lie elsewhere
    expected = whole(world)._catalogue_at(asked)
    for found in scorer._catalogue_at(asked), scorer._catalogue_at(asked):
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
    assert blocks == [21, 28, 42]
    scorer._catalogue_at(torch.tensor([[40]]))  # the sixth state: that of 45, the first of the call before, goes
    scorer._catalogue_at(asked)
    assert blocks == [21, 28, 42, 35, 42]


def test_a_rank_keeps_the_states_of_its_share_alone(world: World) -> None:
    kept = on_ranks(2, lambda ranks: len(dealt(world, ranks)._items.tokens))
    assert kept == [20, 28]


def test_sets_and_lists_need_no_other_rank(world: World) -> None:
    sets = [np.array(items) for items in ([0, 7, 14], [40, 1], [47, 2, 9], [3])]
    expected, tokens = whole(world).ragged_logits(sets), whole(world).item_tokens
    lists = torch.tensor([[2, -1, 47, 6], [45, 5, -1, 8]])
    additions = whole(world).addition_logits(torch.tensor(OUTFITS), lists)
    for rank in (0, 1):
        alone = dealt(world, ThreadRanks(rank, {"values": [None, None], "barrier": None}))
        assert torch.equal(alone.ragged_logits(sets), expected)
        assert torch.equal(alone.addition_logits(torch.tensor(OUTFITS), lists), additions)
        assert torch.equal(alone.item_tokens, tokens)


def test_mining_over_ranks_gives_the_targets_of_one_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, device = tasks_of(GIVEN[:3], REMOVED[:3]), torch.device("cpu")
    config = TargetsConfig(candidates=5, candidate_block=7)
    expected = mining.Miner(world.module, world.catalogue, config, device).mine(tasks)

    def mine(ranks: ThreadRanks) -> SearchTrace:
        miner = mining.Miner(world.module, world.catalogue, config, device)
        miner.context.__dict__["scorer"] = dealt(world, ranks)
        return miner.mine(tasks)

    for trace in on_ranks(2, mine):
        if isinstance(trace, Exception):
            raise trace
        assert_same(trace, expected)


def test_an_error_of_one_rank_is_raised_on_all(world: World) -> None:
    broken = world.vectors.copy()
    broken[45] = np.nan  # in the share of the second rank

    def search(ranks: ThreadRanks) -> SearchTrace:
        scorer = DealtScorer(ranks, PART, world.module, broken, world.present, world.categories, block=7)
        return greedy_k_step(SearchQuery(scorer, torch.tensor(OUTFITS), 1))

    found = on_ranks(2, search)
    assert [str(error).partition(";")[0] for error in found] == ["S gave a logit that is not finite"] * 2


def test_parts_of_another_size_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "CATALOGUE_PART", 7)
    alone = dealt(world, ThreadRanks(0, {"values": [None], "barrier": threading.Barrier(1)}))
    with pytest.raises(ValueError, match="dealt out in parts of 10 items, not 7"):
        greedy_k_step(SearchQuery(alone, torch.tensor(OUTFITS), 1))
