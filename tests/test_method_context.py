"""What methods may use: a context on another device is the same context."""

import numpy as np
import torch

from outfits.data.catalogue import ItemEmbeddings
from tests.tiny_world import IMAGE, TEXT, World


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
