"""What users like: those of a run's data, and new ones folded in from outfits that they like."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from outfits.errors import ArtifactError, ConfigError
from outfits.scoring.preferences import Preferences, UserPreference
from outfits.stylist.export import read_users
from outfits.stylist.known_outfits import KnownOutfits
from outfits.stylist.loading import LoadedRun
from outfits.stylist.parser import PartialOutfit
from outfits.stylist.requests import User
from outfits.stylist.results import OutfitForUser


class People:
    """The users of a run, over the outfits of its data.

    Raises:
        ArtifactError: if the run knows no users.
    """

    def __init__(self, run: LoadedRun, outfits: KnownOutfits) -> None:
        if run.recommender is None:
            raise ArtifactError(f"run {run.folder} knows no users; train one with stage personal")
        self._preferences = Preferences(
            run.recommender, run.catalogue, run.outfits, read_users(run.folder, run.outfits)
        )
        self._outfits = outfits

    @property
    def user_ids(self) -> Sequence[str]:
        """Ids of the known users."""
        return self._preferences.users.user_ids

    def vectors(self, users: Sequence[User]) -> NDArray[np.float32]:
        """Vectors of users, shape ``[B, d]``; raises DataError if there is no such user or outfit."""
        preferences = self._preferences
        return np.stack(
            [
                preferences.user_vectors[preferences.users.position(user)]
                if isinstance(user, str)
                else preferences.folded_in(preferences.outfit_vectors[self.liked(user)])
                for user in users
            ]
        )

    def liked(self, user: User) -> NDArray[np.int64]:
        """Rows of the outfits that tell what a user likes; of a known one those of the training split."""
        if isinstance(user, str):
            users = self._preferences.users
            return users.liked(users.position(user), "train")
        if not user:
            raise ConfigError(["user: name at least one outfit that the new user likes"])
        return np.array([self._outfits.row(outfit_id) for outfit_id in user], dtype=np.int64)

    def recommended(self, user: User, top: int) -> list[OutfitForUser]:
        """The outfits that a user is likely to like, best first, without those that tell what the user likes."""
        preferences = self._preferences.outfit_vectors @ self.vectors([user])[0]
        order = np.setdiff1d(np.argsort(-preferences, kind="stable"), self.liked(user), assume_unique=True)[:top]
        ids = self._outfits.ids
        return [OutfitForUser(ids[row], self._outfits.items(row), float(preferences[row])) for row in order.tolist()]

    def preference(self, partial_outfit: PartialOutfit, vectors: NDArray[np.float32], beta: float) -> UserPreference:
        """The preference of users ``[B, d]`` for completions, the external items of a partial outfit included."""
        preferences = self._preferences
        if partial_outfit.external is not None:
            preferences = preferences.with_external(partial_outfit.external, partial_outfit.external_categories)
        return UserPreference(preferences, vectors, beta)
