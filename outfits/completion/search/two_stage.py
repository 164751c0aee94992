"""Search in two stages: the student ranks the catalogue, S scores the best items at each step."""

from outfits.completion.completion import MethodOutcome
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete_by_search
from outfits.completion.search.beam import beam_search
from outfits.completion.search.greedy import greedy_k_step
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.methods import BeamTwoStageConfig, GreedyTwoStageConfig


def greedy_two_stage(tasks: CompletionTasks, context: MethodContext, options: GreedyTwoStageConfig) -> MethodOutcome:
    """Completes by greedy k-step search over the student's shortlists; ranks are those on the first one."""
    shortlists, c = context.shortlists, options.candidates
    return complete_by_search(tasks, context, lambda query: greedy_k_step(shortlists.narrowed(query, c)))


def beam_two_stage(tasks: CompletionTasks, context: MethodContext, options: BeamTwoStageConfig) -> MethodOutcome:
    """Completes by beam search over the student's shortlists for each hypothesis; ranks as in greedy search."""
    shortlists, c = context.shortlists, options.candidates
    return complete_by_search(
        tasks, context, lambda query: beam_search(shortlists.narrowed(query, c, every_slot=True), options.width)
    )
