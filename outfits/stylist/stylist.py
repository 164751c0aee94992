"""Completes, generates, scores and finds outfits with a finished run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from outfits import run_files
from outfits.completion.conditions import Conditions
from outfits.completion.context import MethodContext
from outfits.completion.generation import generate, generate_with_generator
from outfits.completion.methods import complete
from outfits.config.method_calls import MethodCall, resolve_call
from outfits.config.schema import Config
from outfits.config.schema.methods import methods_needing, spec_of
from outfits.config.schema.multitask import REFINEMENT
from outfits.data.catalogue import ItemEmbeddings
from outfits.data.category_rule import is_outfit, rows_of_batch
from outfits.data.outfits import Outfits
from outfits.encoders.base import ItemEncoder
from outfits.encoders.images import ImageSource
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.imaging.conditional import ConditionalGenerator
from outfits.models.similarity import PARTS, TextSimilarity, item_similarity
from outfits.naming import normalised
from outfits.stylist.capsule import Capsule, CapsuleGoal, capsule_of, grow_capsule
from outfits.stylist.changes import AddedItem, image_file
from outfits.stylist.completing import completed_outfits, conditions_of, generated_outfit
from outfits.stylist.explaining import Explanation, explain_set
from outfits.stylist.export import read_encoder
from outfits.stylist.garments import Garment, embed_text, garment_image
from outfits.stylist.imagining import ImaginedItem, decoder_of, drawn_items, imagined_latents
from outfits.stylist.known_outfits import KnownOutfits
from outfits.stylist.loading import LoadedRun, changed_run, load_run
from outfits.stylist.parser import OutfitParser, PartialOutfit
from outfits.stylist.people import People
from outfits.stylist.requests import (
    AllowedCategories,
    ConditionTexts,
    Piece,
    User,
    batches,
    check_counts,
    one_for_each,
    tasks_of,
    users_of,
)
from outfits.stylist.results import ItemMatch, ItemRef, OutfitForUser, OutfitMatch, StyledOutfit

if TYPE_CHECKING:
    from outfits.stylist.parts import PartComparison, PartsSearch
    from outfits.stylist.refining import Refiner


class Stylist:
    """Completes, generates, scores and finds outfits with the models of a finished run; see :meth:`load`.

    Examples:
        >>> stylist = Stylist.load(RUN_DIR)
        >>> best, *others = stylist.complete([first, second], k=2)
        >>> len(best.added), best.given[0].id == first
        (2, True)
        >>> mine = Garment(category, text="blue cotton")
        >>> stylist.complete([first, mine], k=1)[0].given[1].name == f"own {category}"
        True
    """

    def __init__(self, run: LoadedRun, exported: "Stylist | None" = None, version: int = 0) -> None:
        self._run = run
        self._exported = exported or self  # of the catalogue as it was exported, whose parts changes build on
        self._version = version
        self._parser = OutfitParser(run.catalogue, lambda: self.encoder)

    @classmethod
    def load(
        cls,
        run_dir: str | Path,
        *,
        device: str = "cpu",
        cache_dir: str | Path | None = None,
        data_root: str | Path | None = None,
    ) -> "Stylist":
        """Loads a finished run with at least a compatibility model; nothing is trained or embedded.

        Args:
            run_dir: the run's folder, that of an exported run, or ``hf://ORG/NAME`` for an exported run on the Hugging
                Face Hub, which is taken from the hub's cache where it is there, else fetched.
            device: where the models run: ``cpu``, ``cuda`` or ``mps``.
            cache_dir: folder of what runs share, such as embeddings; None: where the run left it.
            data_root: folder of the run's data set, for images; None: where the run found it.

        Raises:
            ArtifactError: if the run lacks something, or a file of it was changed.
            ConfigError: if there is no such device.
        """
        return cls(load_run(run_dir, device, cache_dir, data_root)).refreshed()

    def refreshed(self) -> "Stylist":
        """A stylist of the catalogue as it is now: this one, or another where items joined or left since it was loaded.

        Any process may have changed the catalogue, by :meth:`add` or :meth:`remove`. To see that none has takes far
        less than a millisecond.
        """
        store = self._run.changes
        if store.version() == self._version:
            return self
        changes, exported = store.read(), self._exported
        return Stylist(changed_run(exported._run, changes), exported, changes.version)

    def prepared(self) -> "Stylist":
        """This stylist, with what completions and searches need, which their first call would take time to build."""
        context = self._run.context
        context.scorer, context.similarity  # noqa: B018 (built here)
        if context.generator is not None:
            context.index  # noqa: B018 (built here)
        if REFINEMENT in self.learned:
            self._refiner.gallery  # noqa: B018 (built here)
        if self._run.recommender is not None:
            self._people  # noqa: B018 (built here)
        return self

    def add(self, items: Mapping[str, Garment]) -> "Stylist":
        """Adds items to the run's catalogue, by id, and returns a stylist that knows them; this one does not.

        They are embedded by the run's encoder, can be chosen like any other, and stay until they are removed. Their
        images are kept with the run.

        Raises:
            DataError: if there is an item of an id, or a garment cannot be used; then none is added.

        Examples:
            >>> changed = stylist.add({"coat-1": Garment(category, text="red")})
            >>> changed.search("red", top=len(changed), categories=category)[-1].item.id in changed.item_ids
            True
            >>> changed.remove("coat-1").item_ids == stylist.item_ids
            True
        """
        store, now = self._run.changes, self.refreshed()
        added: list[AddedItem] = []
        for item_id, garment in items.items():
            category, (vector, present) = self._parser.category(garment.category), self._parser.embed(garment)
            added.append(AddedItem(normalised(item_id), category, garment.text, vector, present))
            if not added[-1].item_id:
                raise DataError("an item needs an id that is not empty")
            if added[-1].item_id in now._run.catalogue.positions:
                raise DataError(f"there is an item {item_id!r} already; remove it first, or give another id")
        images: dict[str, bytes] = {}
        for place, garment in enumerate(items.values()):
            if garment.image is not None:
                name, content = image_file(garment_image(garment))
                added[place], images[name] = replace(added[place], image=name), content
        exported = self._exported._run.catalogue.positions
        store.add(added, frozenset(item.item_id for item in added if item.item_id in exported), images)
        return now.refreshed()

    def remove(self, *item_ids: str) -> "Stylist":
        """Takes items out of the run's catalogue and returns a stylist without them; this one still has them.

        Raises:
            DataError: with the nearest ids if there is no such item; then none is removed.
        """
        stylist = self.refreshed()
        for item_id in [str(stylist.item(item_id).id) for item_id in item_ids]:
            self._run.changes.remove(item_id)
        return stylist.refreshed()

    def __repr__(self) -> str:
        return f"<Stylist of {self._run.folder}: {len(self._run.catalogue):,} items, k up to {self.k_max}>"

    def __len__(self) -> int:
        """Number of items of the catalogue."""
        return len(self._run.catalogue)

    def __contains__(self, item_id: object) -> bool:
        """Whether the catalogue has an item of this id."""
        return item_id in self._run.catalogue.positions

    @property
    def item_ids(self) -> Sequence[str]:
        """Ids of all items."""
        return self._run.catalogue.item_ids

    @property
    def categories(self) -> Sequence[str]:
        """Names of all categories."""
        return self._run.catalogue.category_names

    @property
    def exported(self) -> "Stylist":
        """A stylist of the catalogue as it was when the models were trained."""
        return self._exported

    @property
    def changed_ids(self) -> frozenset[str]:
        """Ids of items that joined, or came back changed, since the models were trained."""
        return frozenset(item.item_id for item in self._run.changes.read().added) if self._version else frozenset()

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self._run.config

    @property
    def outfits(self) -> Outfits:
        """The outfits of the run's data whose items all are in the catalogue."""
        return self._run.outfits

    @property
    def embeddings(self) -> ItemEmbeddings:
        """Embeddings of the catalogue's items."""
        return self._run.catalogue.require_embeddings

    @property
    def item_categories(self) -> NDArray[np.int32]:
        """Category of every item, positions in :attr:`categories`, shape ``[N]``."""
        return self._run.catalogue.categories

    @property
    def k_max(self) -> int:
        """Largest number of missing items of the generator; 0 without one."""
        generator = self._run.context.generator
        return 0 if generator is None else generator.config.k_max

    def can(self, method: str) -> bool:
        """Whether the run has what a method needs.

        Examples:
            >>> stylist.can("greedy_k"), stylist.can("original")
            (True, False)
        """
        context = self._run.context
        models = {"generator": context.generator, "student": context.student, "retriever": context.retriever}
        return all(models.get(need, need != "removed") is not None for need in spec_of(method).needs) and not (
            {"removed", "texts"} & set(spec_of(method).needs)
        )

    @cached_property
    def encoder(self) -> ItemEncoder:
        """The run's item encoder, loaded when external garments or texts are first used."""
        if self._exported is not self:
            return self._exported.encoder
        run = self._run
        return read_encoder(run.folder, run.config.encoder, run.catalogue).to(run.context.device)

    def item(self, item_id: str) -> ItemRef:
        """The catalogue's entry of an item; raises :class:`DataError` with the nearest ids if there is no such item."""
        return self._parser.item(self._parser.position(item_id))

    def complete(
        self,
        items: Sequence[Piece],
        k: int = 2,
        *,
        categories: AllowedCategories = None,
        texts: ConditionTexts = None,
        method: str = "generator_beam",
        top: int = 5,
        alpha: float | None = None,
        user: User | None = None,
        beta: float | None = None,
    ) -> list[StyledOutfit]:
        r"""Adds ``k`` items to an outfit and returns different outfits, best first.

        The completion maximises :math:`S`, or with texts
        :math:`\alpha S(O \cup \{X_i\}) + (1 - \alpha) \sum_i S_X(X_i, \hat T_i)`, as well as the method can. For a
        user :math:`\beta \langle f(O \cup \{X_i\}), u \rangle` is added.

        Args:
            items: the partial outfit, at least one item: catalogue ids or external garments.
            k: number of missing items; at most :attr:`k_max` for the generator's methods.
            categories: allowed categories, for all missing items or a list for each.
            texts: texts of conditions.
            method: method of the run's registry, with options as in ``beam:width=8``.
            top: outfits to return at most; methods that have but one answer return one.
            alpha: weight of S against texts of conditions; None: the run's ``evaluate.alpha``.
            user: a user of the run's data, or outfits that a new user likes; None: no preference counts.
            beta: weight of the user's preference; None: the run's ``personal.beta``.

        Raises:
            ArtifactError: if the run lacks what the method needs, or knows no users.
            ConfigError: if there is no such method, it does not follow users, ``beta`` is below 0 or given without a
                user, or texts are given and the run has no text encoder.
            DataError: if an item, a category or an image cannot be used, the category rule leaves no completion, or
                there is no such user.

        Examples:
            >>> stylist.complete([first, second], k=1, method="greedy_k", top=3)[0].score <= 1
            True
            >>> conditioned = stylist.complete([first], k=2, categories=[[other], None], texts=["red", ""])
            >>> conditioned[0].added[0].category == other
            True
        """
        return self.complete_many(
            [items],
            k,
            categories=[categories],
            texts=[texts],
            method=method,
            top=top,
            alpha=alpha,
            users=None if user is None else [user],
            beta=beta,
        )[0]

    def complete_many(
        self,
        outfits: Sequence[Sequence[Piece]],
        k: int = 2,
        *,
        categories: Sequence[AllowedCategories] | None = None,
        texts: Sequence[ConditionTexts] | None = None,
        method: str = "generator_beam",
        top: int = 5,
        alpha: float | None = None,
        users: Sequence[User | None] | None = None,
        beta: float | None = None,
    ) -> list[list[StyledOutfit]]:
        """:meth:`complete` for several outfits; conditions and users have one entry per outfit, all users or none.

        Examples:
            >>> len(stylist.complete_many([[first], [second]], k=1, categories=[[other], None]))
            2
        """
        check_counts(k=k, top=top)
        alpha = self._alpha(alpha)
        call = self._call(method)
        partial_outfits = self._parser.read_all(outfits)
        conditions = [
            conditions_of(self._parser, k, categories_of_items, text, alpha)
            for categories_of_items, text in zip(
                one_for_each(categories, len(partial_outfits), "categories"),
                one_for_each(texts, len(partial_outfits), "texts"),
                strict=True,
            )
        ]
        described = any(given is not None and given.has_text.any() for given in conditions)
        if "texts" in spec_of(method).needs and partial_outfits and not described:
            raise ConfigError([f"method: {method} completes by texts of conditions; give texts"])
        named = users_of(users, len(partial_outfits))
        of_users = None if named is None else self._people.vectors(named)
        weight = self._beta(beta, of_users is not None)
        found: list[list[StyledOutfit]] = [[] for _ in partial_outfits]
        for rows in batches(partial_outfits, conditions):
            of_rows = [given for row in rows if (given := conditions[row]) is not None]
            batch_conditions = Conditions.concatenate(of_rows) if of_rows else None
            context = self._context(partial_outfits[rows[0]])
            tasks = tasks_of([partial_outfits[row] for row in rows], k, batch_conditions, top)
            if of_users is not None:
                preference = self._people.preference(partial_outfits[rows[0]], of_users[rows], weight)
                tasks = replace(tasks, preference=preference)
            with rows_of_batch(rows):
                completions = complete(call, tasks, context)
            for place, row in enumerate(rows):
                found[row] = completed_outfits(self._parser, partial_outfits[row], completions, place, tasks, context)
        return found

    def imagine(
        self,
        items: Sequence[Piece],
        k: int = 2,
        *,
        categories: AllowedCategories = None,
        texts: ConditionTexts = None,
        found: Sequence[str] | None = None,
    ) -> list[ImaginedItem]:
        """Draws an outfit's ``k`` missing items as the generator has them in mind, beside the items found for them.

        Args:
            items: the partial outfit, as in :meth:`complete`.
            k: number of missing items, at most :attr:`k_max`.
            categories: allowed categories, as in :meth:`complete`.
            texts: texts of conditions, as in :meth:`complete`.
            found: ids of k items that a completion has added, to be drawn beside; None: the items nearest to the
                generator's latents. Without conditions each goes with the latent that it suits.

        Raises:
            ArtifactError: if the run has no generator, or no decoder of stage ``imagine``.
            ConfigError: if there are not k items found.
            DataError: as :meth:`complete` does.

        Examples:
            >>> [imagined.found.category != stylist.item(first).category for imagined in stylist.imagine([first], k=1)]
            [True]
        """
        check_counts(k=k)
        partial_outfit = self._parser.read(items)
        conditions = conditions_of(self._parser, k, categories, texts, self._alpha(None))
        places = None if found is None else [self._parser.position(item_id) for item_id in found]
        context = self._context(partial_outfit)
        latents = imagined_latents(context, partial_outfit, k, conditions, places)
        refs = [self._parser.item(int(item)) for item in latents.found]
        return drawn_items(latents, self.decoder, refs, context.categories[latents.found])

    @cached_property
    def decoder(self) -> ConditionalGenerator:
        """The decoder of the generator's latents, loaded when items are first imagined."""
        return decoder_of(self._run) if self._exported is self else self._exported.decoder

    @property
    def can_imagine(self) -> bool:
        """Whether the run has a generator and a decoder of its latents."""
        run = self._run
        return run.context.generator is not None and (run.folder / run_files.DECODER).is_file()

    def generate(
        self,
        text: str,
        max_items: int = 5,
        *,
        size: int | None = None,
        method: str = "beam",
        top: int = 5,
        alpha: float | None = None,
    ) -> list[StyledOutfit]:
        r"""Generates outfits of any size for a text, ranked by :math:`\alpha S(O) + (1 - \alpha) \sum_i S_X(X_i, T)`.

        S of an item alone counts as 1, so with ``size=1`` this is :meth:`search`.

        Args:
            text: description of the outfit.
            max_items: largest size.
            size: the only size wanted; None: the size with the best objective.
            method: ``beam``, which expands the items most similar to the text, or ``generator``, ``generator_rerank``
                or ``generator_beam``, which complete the most similar item; all with options as in ``beam:width=8``.
            top: outfits to return at most; the generator has one of every size.
            alpha: weight of S against the text; None: the run's ``evaluate.alpha``.

        Raises:
            ArtifactError: if the run lacks what the method needs.
            ConfigError: if there is no such method, or the run has no text encoder.
            DataError: if the encoder knows no word of the text, or the catalogue has fewer categories than ``size``.

        Examples:
            >>> [len(outfit.items) for outfit in stylist.generate("red", size=3, top=2)]
            [3, 3]
            >>> stylist.generate("red", size=1)[0].items[0] == stylist.search("red")[0].item
            True
        """
        return self.generate_many([text], max_items, size=size, method=method, top=top, alpha=alpha)[0]

    def generate_many(
        self,
        texts: Sequence[str],
        max_items: int = 5,
        *,
        size: int | None = None,
        method: str = "beam",
        top: int = 5,
        alpha: float | None = None,
    ) -> list[list[StyledOutfit]]:
        """:meth:`generate` for several texts."""
        check_counts(max_items=max_items, top=top, size=1 if size is None else size)
        alpha = self._alpha(alpha)
        call = self._call(method)
        if call.name not in (generating := ("beam", *methods_needing("generator"))):
            raise ConfigError([f"method: {call.name} does not generate; {', '.join(generating)} do"])
        similarity, context = self._text_similarity(), self._run.context
        found = []
        for text in texts:
            vector = embed_text(self.encoder, text)
            if call.name == "beam":
                generation = generate(
                    context.scorer,
                    similarity(vector[None])[0],
                    max_items,
                    size=size,
                    alpha=alpha,
                    width=call.options.width,
                    top=top,
                )
            else:
                generation = generate_with_generator(call, context, vector, max_items, size=size, alpha=alpha, top=top)
            found.append([generated_outfit(self._parser, outfit, generation) for outfit in generation.outfits])
        return found

    def score(self, items: Sequence[Piece], *, rule: bool = True) -> float:
        """S of a set of items, in [0, 1].

        Args:
            items: catalogue ids or external garments, at least one; a single item scores 1.
            rule: S is 0 on sets with two items of one category, which are no outfits; False leaves this zero out,
                for data whose categories are so coarse that real outfits break the rule (see :meth:`rule_kept`).

        Examples:
            >>> 0 < stylist.score([first, second]) < 1
            True
            >>> stylist.score([first, Garment(stylist.item(first).category, "red")])
            0.0
        """
        return self.score_many([items], rule=rule)[0]

    def score_many(self, outfits: Sequence[Sequence[Piece]], *, rule: bool = True) -> list[float]:
        """:meth:`score` of several sets."""
        scores = []
        for partial_outfit in self._parser.read_all(outfits):
            kept = is_outfit(partial_outfit.categories)
            scores.append(0.0 if rule and not kept else self._score(partial_outfit))
        return scores

    def judge(self, items: Sequence[Piece]) -> float | None:
        """The score of a set of catalogue items under the run's judge, a model that no method saw.

        None where the run has no judge, the set has an external garment, or it is one item alone.

        Examples:
            >>> stylist.judge([first]) is None
            True
        """
        judge = self._run.context.judge
        if judge is None or len(items) < 2 or any(isinstance(item, Garment) for item in items):
            return None
        partial_outfit = self._parser.read(items)
        return float(expit(judge.ragged_logits([partial_outfit.positions]).double().cpu().numpy()[0]))

    def rule_kept(self, items: Sequence[Piece]) -> bool:
        """Whether a set is an outfit: no two items of one category."""
        return is_outfit(self._parser.read(items).categories)

    def explain(self, items: Sequence[Piece]) -> Explanation:
        """Tells which item of an outfit is wrong, and what would be better in its place.

        Args:
            items: the outfit, at least two items: catalogue ids or external garments.

        Raises:
            DataError: if there are fewer.

        Examples:
            >>> explained = stylist.explain([first, second])
            >>> [effect.item.id for effect in explained.items] == [first, second]
            True
            >>> explained.items[explained.suspect].replaced >= explained.items[0].replaced
            True
        """
        partial_outfit = self._parser.read(items)
        if len(partial_outfit.items) < 2:
            raise DataError("one item alone has nothing to clash with; give at least two")
        scorer = self._context(partial_outfit).scorer
        return explain_set(scorer, partial_outfit.positions, partial_outfit.items, self._parser.item)

    def capsule(
        self,
        items: Sequence[Piece],
        size: int,
        *,
        outfit_sizes: Sequence[int] = (3, 4),
        threshold: float = 0.5,
        summed: bool = False,
        categories: str | Sequence[str] | None = None,
        prices: Mapping[str, float] | None = None,
        budget: float | None = None,
    ) -> Capsule:
        r"""Chooses items that make the most good outfits with those that are there already, and with one another.

        Greedy choice: the worth of a set is a sum over the outfits within it, which is supermodular, so there is no
        guarantee of how near it comes to the best set, see :func:`outfits.stylist.capsule.grow_capsule`.

        Args:
            items: what is there already, at least one item: catalogue ids or external garments.
            size: items of the capsule, these among them.
            outfit_sizes: numbers of items that an outfit may have.
            threshold: S from which on an outfit is good.
            summed: sum the S of good outfits instead of counting them.
            categories: name or names of the categories to choose from; None: all.
            prices: price of every catalogue item that may be chosen, by id; with a budget others are left out.
            budget: largest sum of the prices of the chosen items; fewer are chosen where it does not suffice.

        Raises:
            ConfigError: for a size below the number of items, outfits of fewer than two items, or a budget without
                prices.

        Examples:
            >>> capsule = stylist.capsule([first, second], size=4, outfit_sizes=[2, 3], threshold=0.1)
            >>> len(capsule.items), capsule.chosen
            (4, 2)
        """
        *_, found = self.grow_capsule(
            items,
            size,
            outfit_sizes=outfit_sizes,
            threshold=threshold,
            summed=summed,
            categories=categories,
            prices=prices,
            budget=budget,
        )
        return found

    def grow_capsule(
        self,
        items: Sequence[Piece],
        size: int,
        *,
        outfit_sizes: Sequence[int] = (3, 4),
        threshold: float = 0.5,
        summed: bool = False,
        categories: str | Sequence[str] | None = None,
        prices: Mapping[str, float] | None = None,
        budget: float | None = None,
    ) -> Iterator[Capsule]:
        """:meth:`capsule` step by step: what is there already, and then after every item that joins."""
        check_counts(size=size)
        partial_outfit = self._parser.read(items)
        if size < len(partial_outfit.items):
            raise ConfigError([f"size: {size} is less than the {len(partial_outfit.items)} items that are there"])
        if not outfit_sizes or min(outfit_sizes) < 2:
            raise ConfigError([f"outfit_sizes: an outfit has at least two items, not {list(outfit_sizes)}"])
        if budget is not None and prices is None:
            raise ConfigError(["budget: needs the prices of the items"])
        scorer = self._context(partial_outfit).scorer
        goal = CapsuleGoal(tuple(outfit_sizes), threshold, summed)
        own = dict(zip(partial_outfit.positions.tolist(), partial_outfit.items, strict=True))
        steps = grow_capsule(
            scorer,
            partial_outfit.positions,
            size,
            goal,
            self._allowed_items(categories),
            prices=None if budget is None else np.array([(prices or {}).get(one, np.nan) for one in self.item_ids]),
            budget=np.inf if budget is None else budget,
        )
        for wardrobe in steps:
            yield capsule_of(scorer, wardrobe, len(own), goal, lambda item: own.get(item) or self._parser.item(item))

    def similar(
        self, item: Piece, top: int = 10, *, category: str | Sequence[str] | None = None, modality: str = "joint"
    ) -> list[ItemMatch]:
        """The catalogue items most similar to an item, itself left out.

        Args:
            item: catalogue id or external garment.
            top: items to return at most.
            category: name or names of the categories to search; None: all.
            modality: ``image`` or ``text`` to compare that part alone, ``joint`` for the parts that both items have,
                ``parts`` for the parts of their images: the same item seen otherwise comes first.

        Raises:
            ArtifactError: for ``parts``, if the run has no stage ``parts``.
            DataError: for ``parts``, if the item has no image.

        Examples:
            >>> match = stylist.similar(first, top=1)[0]
            >>> -1 <= match.similarity <= 1 and match.item.id != first
            True
        """
        return self.similar_many([item], top, category=category, modality=modality)[0]

    def similar_many(
        self,
        items: Sequence[Piece],
        top: int = 10,
        *,
        category: str | Sequence[str] | None = None,
        modality: str = "joint",
    ) -> list[list[ItemMatch]]:
        """:meth:`similar` for several items."""
        allowed = self._allowed_items(category)
        found = []
        for item in items:
            if modality == PARTS:
                found.append(self._similar_by_parts(item, allowed, top))
                continue
            partial_outfit = self._parser.read([item])
            embedded = self._context(partial_outfit).embedded(partial_outfit.positions)
            similarity = item_similarity(embedded, self._run.catalogue.require_embeddings, modality)[0]
            others = np.flatnonzero(allowed & (np.arange(len(self)) != partial_outfit.positions[0]))
            found.append(self._matches(similarity, others, top))
        return found

    def likeness(self, item_ids: Sequence[str]) -> NDArray[np.float32]:
        r"""How alike catalogue items are, shape ``[n, n]``: the larger of :math:`S_X` of images and of all parts.

        Examples:
            >>> alike = stylist.likeness([first, second])
            >>> bool(alike[0, 0] > 0.999), alike.shape
            (True, (2, 2))
        """
        items = self._run.catalogue.require_embeddings.take(
            np.array([self._parser.position(item_id) for item_id in item_ids], dtype=np.int64)
        )
        return np.maximum(item_similarity(items, items, "image"), item_similarity(items, items))

    def _similar_by_parts(self, item: Piece, allowed: NDArray[np.bool_], top: int) -> list[ItemMatch]:
        check_counts(top=top)
        piece = item if isinstance(item, Garment) else self._parser.position(item)
        others = np.flatnonzero(allowed if isinstance(piece, Garment) else allowed & (np.arange(len(self)) != piece))
        catalogue, parts = self._run.catalogue, self.parts
        found = parts.similar(parts.pyramid(piece, catalogue), catalogue, others, top)
        return [ItemMatch(self._parser.item(place), similarity) for place, similarity in found]

    def compare_parts(self, item: Piece, other: Piece) -> "PartComparison":
        """Compares the parts of two items' images: S_X, and which parts speak for one item and which against it.

        Raises:
            ArtifactError: if the run has no stage ``parts``.
            DataError: if an item has no image.
        """
        catalogue, parts = self._run.catalogue, self.parts
        pieces = (one if isinstance(one, Garment) else self._parser.position(one) for one in (item, other))
        one, two = (parts.pyramid(piece, catalogue) for piece in pieces)
        return parts.compare(one, two)

    @property
    def compares_parts(self) -> bool:
        """Whether the run has GRNet, of stage ``parts``."""
        return (self._run.folder / run_files.GRNET).is_file()

    @cached_property
    def parts(self) -> "PartsSearch":
        """GRNet over the catalogue; raises :class:`ArtifactError` if the run has no stage ``parts``."""
        if self._exported is not self:
            return self._exported.parts
        from outfits.stylist.parts import PartsSearch  # here, since timm takes seconds to import

        return PartsSearch(self._run.folder, self._run.config, self._run.catalogue)

    @property
    def learned(self) -> Sequence[str]:
        """What the run's multi-task encoder has learned (``refinement``, ``captioning``, …); nothing without one.

        Examples:
            >>> stylist.learned
            ()
        """
        config = self._run.config.encoder
        if "multitask" not in (config.image, config.text):
            return ()
        from outfits.stylist.refining import multitask_of  # here, since open_clip takes seconds to import

        model = multitask_of(self.encoder)
        return () if model is None else tuple(model.tasks)

    def refine(
        self, item: Piece, text: str, top: int = 10, *, category: str | Sequence[str] | None = None
    ) -> list[ItemMatch]:
        """The catalogue items most like an item, but as a text says: ``refine(item, "in red")``; itself left out.

        Args:
            item: catalogue id or external garment, with an image.
            text: what should be different.
            top: items to return at most; those without an image are none.
            category: name or names of the categories to search; None: all.

        Raises:
            ConfigError: if the run has no multi-task encoder that has learned to refine.
            DataError: if the item has no image, or the encoder knows no word of the text.
        """
        refiner, allowed = self._refiner, self._allowed_items(category)
        similarity = refiner.refine(refiner.prepared(*self._image_of(item)), text)
        allowed = allowed & refiner.gallery[1]
        if isinstance(item, str):
            allowed[self._parser.position(item)] = False
        return self._matches(similarity, np.flatnonzero(allowed), top)

    def caption(self, item: Piece) -> str:
        """A text for the image of a catalogue item or an external garment; errors as of :meth:`refine`."""
        return self._refiner.caption(self._refiner.prepared(*self._image_of(item)), self._run.config.multitask.beam)

    def categorise(self, image: ImageSource, text: str = "") -> list[tuple[str, float]]:
        """Categories of a photo with their probabilities, the likeliest first, by the run's multi-task encoder.

        Without such an encoder see :meth:`likely_categories`.

        Args:
            image: the photo, as in :class:`Garment`.
            text: what is known about it.

        Raises:
            ConfigError: if the run has no multi-task encoder that has learned categories.
            DataError: if the photo cannot be opened.
        """
        return self._refiner.categorise(self._refiner.prepared(image), text)

    @cached_property
    def _refiner(self) -> "Refiner":
        from outfits.stylist.refining import Refiner, multitask_of

        model = multitask_of(self.encoder)
        if model is None:
            text = "this run has no multi-task model; train one with experiment=multitask, and a run with that encoder"
            raise ConfigError([f"encoder.image: {text}"])
        if self._exported is not self:
            return Refiner(model, self._run.catalogue, None, self._exported._refiner)
        return Refiner(model, self._run.catalogue, self._run.folder / run_files.STYLIST)

    def _image_of(self, item: Piece) -> tuple[ImageSource, str | None]:
        """The image of an item, and its name in messages, None: its file's; DataError if there is none.

        Messages name catalogue items by id, since a service must not tell where its files lie.
        """
        if isinstance(item, Garment):
            image, name, of_item = item.path or item.image, None, f"own {item.category}"
        else:
            ref = self.item(item)
            image, of_item = ref.image_path, f"item {ref.id!r}"
            name = f"of {of_item}"
        if image is None:
            raise DataError(f"{of_item} has no image, which this needs")
        return image, name

    def likely_categories(self, image: ImageSource, text: str = "", nearest: int = 15) -> list[tuple[str, float]]:
        """Categories of the catalogue items most similar to a photo, with their shares, the likeliest first.

        Args:
            image: the photo, as in :class:`Garment`.
            text: what is known about it.
            nearest: items that are looked at; near ones count more.

        Examples:
            >>> [0 < share <= 1 for _, share in stylist.likely_categories(stylist.item(first).image_path)][:1]
            [True]
        """
        matches = self.similar(Garment(self.categories[0], text, image), nearest)
        weights: dict[str, float] = {}
        for place, match in enumerate(matches):
            weights[match.item.category] = weights.get(match.item.category, 0.0) + 1 / (1 + place)
        total = sum(weights.values())
        ordered = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
        return [(category, weight / total) for category, weight in ordered]

    def browse(self, category: str | None = None) -> list[str]:
        """Ids of the catalogue's items of a category, or of all."""
        return [self.item_ids[place] for place in np.flatnonzero(self._allowed_items(category)).tolist()]

    @property
    def outfit_ids(self) -> Sequence[str]:
        """Ids of the outfits of the run's data."""
        return self._run.outfits.outfit_ids

    def outfit(self, outfit_id: str) -> tuple[ItemRef, ...]:
        """The items of an outfit of the run's data; raises :class:`DataError` if there is no such outfit.

        Examples:
            >>> len(stylist.outfit(stylist.outfit_ids[0])) >= 2
            True
        """
        return self._known_outfits.items(self._known_outfits.row(outfit_id))

    def search(self, text: str, top: int = 10, *, categories: str | Sequence[str] | None = None) -> list[ItemMatch]:
        """The ``top`` catalogue items most similar to a text, in all categories or those given.

        Raises:
            ConfigError: if the run has no text encoder.
            DataError: if the encoder knows no word of the text.

        Examples:
            >>> {match.item.category for match in stylist.search("red", categories=[other])} == {other}
            True
        """
        return self.search_many([text], top, categories=categories)[0]

    def search_many(
        self, texts: Sequence[str], top: int = 10, *, categories: str | Sequence[str] | None = None
    ) -> list[list[ItemMatch]]:
        """:meth:`search` for several texts."""
        allowed, similarity = np.flatnonzero(self._allowed_items(categories)), self._text_similarity()
        vectors = [embed_text(self.encoder, text) for text in texts]
        return [self._matches(similarity(vector[None])[0], allowed, top) for vector in vectors]

    def similar_outfits(self, items: Sequence[Piece], top: int = 10) -> list[OutfitMatch]:
        r"""The outfits of the run's data most similar to an outfit by :math:`S_O`, the cosine of S's outfit embeddings.

        The first call embeds all outfits. The outfit itself is among the answers where the data have it.

        Examples:
            >>> stylist.similar_outfits([first, second], top=1)[0].split in ("train", "valid", "test")
            True
        """
        return self.similar_outfits_many([items], top)[0]

    def similar_outfits_many(self, outfits: Sequence[Sequence[Piece]], top: int = 10) -> list[list[OutfitMatch]]:
        """:meth:`similar_outfits` for several outfits."""
        check_counts(top=top)
        return [
            self._known_outfits.similar(self._context(one).embedded(one.positions), top)
            for one in self._parser.read_all(outfits)
        ]

    @cached_property
    def _known_outfits(self) -> KnownOutfits:
        return KnownOutfits(self._run, self._parser)

    @property
    def user_ids(self) -> Sequence[str]:
        """Ids of the users of the run's data; none without stage ``personal``, nor once the catalogue has changed."""
        return () if self._run.recommender is None else self._people.user_ids

    def recommend(self, user: User, top: int = 10) -> list[OutfitForUser]:
        """The outfits of the run's data that a user is likely to like, best first.

        Those that the user is known to like from training are left out.

        Args:
            user: a user of the run's data, or outfits that a new user likes.
            top: outfits to return at most.

        Raises:
            ArtifactError: if the run knows no users, or the catalogue has changed since it was exported.
            DataError: if there is no such user or outfit.
        """
        check_counts(top=top)
        return self._people.recommended(user, top)

    @cached_property
    def _people(self) -> People:
        run = self._run
        if run.recommender is None and self._exported._run.recommender is not None:
            raise ArtifactError(
                f"the catalogue of run {run.folder} has changed since its users were learned; move {run.changes.file} "
                "away to serve them with the catalogue as it was exported"
            )
        return People(run, self._known_outfits)

    def _alpha(self, alpha: float | None) -> float:
        weight = self._run.config.evaluate.alpha if alpha is None else alpha
        if not 0 <= weight <= 1:
            raise ConfigError([f"alpha: must lie in [0, 1], not {weight}"])
        return weight

    def _beta(self, beta: float | None, for_users: bool) -> float:
        if beta is None:
            return self._run.config.personal.beta
        if not 0 <= beta < np.inf:
            raise ConfigError([f"beta: must be at least 0, not {beta}"])
        if not for_users:
            raise ConfigError(["beta: weighs the preference of a user; say whose with user"])
        return beta

    def _call(self, method: str) -> MethodCall:
        if method.partition(":")[0] in methods_needing("removed"):
            raise ConfigError([f"method: {method} gives removed items back; from a partial outfit none was removed"])
        try:
            return resolve_call(method, self._run.config.evaluate)
        except ValueError as error:
            raise ConfigError([f"method: {error}"]) from None

    def _context(self, partial_outfit: PartialOutfit) -> MethodContext:
        context = self._run.context
        if partial_outfit.external is None:
            return context
        return context.with_external(partial_outfit.external, partial_outfit.external_categories)

    def _text_similarity(self) -> TextSimilarity:
        similarity = self._run.context.similarity
        if similarity is None:
            raise ConfigError(["text: this run has no text encoder (encoder.text=none); train a run with one"])
        return similarity

    def _allowed_items(self, categories: str | Sequence[str] | None) -> NDArray[np.bool_]:
        if categories is None:
            return np.ones(len(self), dtype=np.bool_)
        names = [categories] if isinstance(categories, str) else categories
        allowed: NDArray[np.bool_] = self._parser.allowed(names)[self._run.catalogue.categories]
        return allowed

    def _matches(self, similarity: NDArray[np.float32], among: NDArray[np.int64], top: int) -> list[ItemMatch]:
        check_counts(top=top)
        order = among[np.argsort(-similarity[among], kind="stable")[:top]]
        return [ItemMatch(self._parser.item(int(item)), float(similarity[item])) for item in order]

    def _score(self, partial_outfit: PartialOutfit) -> float:
        if len(partial_outfit.positions) == 1:
            return 1.0
        logits = self._context(partial_outfit).scorer.ragged_logits([partial_outfit.positions])
        return float(expit(logits.double().cpu().numpy()[0]))
