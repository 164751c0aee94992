"""What methods may use: a context on another device is the same context."""

import numpy as np
import torch

from outfits.data.catalogue import ItemEmbeddings
from tests.tiny_world import IMAGE, TEXT, World


def test_what_external_items_leave_alone_is_built_once() -> None:
    world = World()
    context = world.context_of(scorer_module=world.module)
    external = ItemEmbeddings(world.vectors[:2], world.present[:2], IMAGE, TEXT)
    first, second = (context.with_external(external, world.categories[:2]) for _ in range(2))
    for part in ("similarity", "space", "judge"):
        assert getattr(first, part) is getattr(second, part) is getattr(context, part)
    assert first.scorer is not second.scorer
    assert "scorer" in vars(context), "the states of the catalogue are computed once"
    second.to("meta")
    assert second.root is second


def test_a_vector_store_and_external_items_survive_a_move() -> None:
    world = World()
    context = world.context_of(scorer_module=world.module, index_store=world.index)
    external = ItemEmbeddings(world.vectors[:2], world.present[:2], IMAGE, TEXT)
    hosting = context.with_external(external, world.categories[:2])
    outfit = torch.tensor([[len(world.categories), 7]])
    before = hosting.scorer.set_logits(outfit)
    for device in ("meta", "cpu"):
        hosting.to(device)
    assert hosting.index is world.index
    torch.testing.assert_close(hosting.scorer.set_logits(outfit), before)
    np.testing.assert_array_equal(hosting.scorer.categories, hosting.categories)
