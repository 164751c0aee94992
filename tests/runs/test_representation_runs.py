"""Runs that learn a representation of images, as a user starts them, and what its encoder is good for afterwards."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from outfits import Garment, Stylist, run_files
from tests.runs.programs import RECIPE, TWO_RANKS, command, here, killed

pytestmark = pytest.mark.slow

# Small images of garments that vary in size and place, as large a set as a minute allows.
SMALL = (
    "experiment=representation",
    "data.synthetic.items=400",
    "data.synthetic.outfits=160",
    "data.synthetic.image_size=32",
    "data.synthetic.vary=1",
    "encoder.text_dim=16",
    "encoder.num_workers=0",
    "model.representation.image_size=32",
    "model.representation.width=16",
    "model.representation.latent_dim=32",
    "model.representation.deforming.shape_dim=8",
    "optimizer.batch_size=32",
    "optimizer.lr=2e-3",
    "trainer=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=5",
    "wandb.mode=off",
)
EPOCHS = {
    "autoencoder": 12,
    "denoising": 12,
    "vae": 12,
    "beta_vae": 16,
    "deforming": 16,
    "deforming_class_aware": 16,
    "deforming_intrinsic": 16,
    "contrastive": 20,
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the data, the cache and the runs of this module."""
    return tmp_path_factory.mktemp("representations")


def arguments(shared: Path, model: str, run: Path, *more: str) -> list[str]:
    place = (f"data.root={shared / 'data'}", f"cache_dir={shared / 'cache'}", f"run_dir={run}")
    return [*SMALL, f"model={model}", f"trainer.max_epochs={EPOCHS[model]}", *place, *more]


def trained(shared: Path, model: str) -> Path:
    """Folder of a finished run of a model; trained once per module."""
    run = shared / model
    if not (run / run_files.REPRESENTATION).exists():
        here("train", arguments(shared, model, run)).succeeded()
    return run


def results(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "report" / "results.json").read_text()))


def curve(run: Path, name: str, stage: str = "representation") -> list[float]:
    """A logged figure over the epochs."""
    with (run / "csv" / stage / "metrics.csv").open(newline="") as lines:
        return [float(row[f"representation/{name}"]) for row in csv.DictReader(lines) if row[f"representation/{name}"]]


@pytest.mark.parametrize("model", [model for model in EPOCHS if model != "contrastive"])
def test_every_model_learns_to_draw_pictures_that_it_never_saw(shared: Path, model: str) -> None:
    run = trained(shared, model)
    losses = curve(run, "valid_loss")
    assert len(losses) == EPOCHS[model]
    assert min(losses) < losses[0]
    errors = curve(run, "valid_pixel_error")
    assert errors[-1] < 0.75 * errors[0]
    metrics = results(run)["reconstruction"]
    assert metrics["model"]["weighted_error"] < 0.6 * metrics["mean"]["weighted_error"]
    assert (run / "report" / "reconstructions.png").stat().st_size > 0


def test_the_contrastive_model_learns_which_text_belongs_to_which_picture(shared: Path) -> None:
    run = trained(shared, "contrastive")
    seen, watched = curve(run, "train_info_nce"), curve(run, "valid_info_nce")
    assert sum(seen[-5:]) / 5 < seen[0] - 0.4, "of 32 texts"
    assert min(watched) < watched[0] - 0.1, "of the few texts of a validation batch"
    colours = results(run)["neighbours"]["factors"]["colour"]
    assert colours["share"] > 2 * colours["chance"], "what texts tell is near in the latent"
    assert not (run / "report" / "reconstructions.png").exists(), "it draws nothing"


def test_the_class_aware_model_tells_categories_better_than_the_commonest_would(shared: Path) -> None:
    assert curve(trained(shared, "deforming_class_aware"), "valid_class_accuracy")[-1] > 0.4


def test_the_falling_weight_of_a_beta_vae_ends_where_it_should(shared: Path) -> None:
    run = trained(shared, "beta_vae")
    betas = curve(run, "train_beta")
    assert betas[0] > 10
    assert betas[-1] == 1.0
    assert betas == sorted(betas, reverse=True)
    assert set(curve(run, "valid_beta")) == {1.0}, "epochs are compared by one measure"


def test_evaluating_again_gives_the_same_report(shared: Path) -> None:
    run = trained(shared, "vae")
    before = results(run)
    said = here("evaluate", [f"run={run}"]).succeeded().output
    assert "representation: reusing" in said
    assert results(run) == before
    here("evaluate", [f"run={run}", "evaluate.representation.factors=[colour]"]).succeeded()
    assert "colour" in results(run)["disentanglement"]["factors"]
    assert "pattern" not in results(run)["disentanglement"]["factors"]
    message = here("evaluate", [f"run={run}", "evaluate.representation.factors=[fabric]"]).mistake()
    assert "fabric" in message
    assert "colour" in message, "those that there are are named"


def test_a_killed_training_goes_on_to_the_same_weights(shared: Path, tmp_path: Path) -> None:
    undisturbed, run = tmp_path / "undisturbed", tmp_path / "killed"
    few = ("trainer.max_epochs=3",)
    here("train", arguments(shared, "vae", undisturbed, *few)).succeeded()
    place = "lightning_modules.representation:RepresentationModule.training_step"
    killed(place, 28, arguments(shared, "vae", run, *few))
    assert not (run / run_files.REPRESENTATION).exists()
    said = here("train", [f"resume={run}"]).succeeded().output
    assert "representation: continuing from" in said
    assert (run / run_files.REPRESENTATION).read_bytes() == (undisturbed / run_files.REPRESENTATION).read_bytes()
    assert results(run) == results(undisturbed)


def test_pictures_are_prepared_once_and_again_after_a_kill_half_way(shared: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    few = (f"cache_dir={cache}", "trainer.max_epochs=1")
    place = "outfits.encoders.images:ItemImages.__getitem__"
    killed(place, 3, arguments(shared, "vae", tmp_path / "run", *few))
    said = here("train", arguments(shared, "vae", tmp_path / "run", *few)).succeeded().output
    assert "representation: preparing" in said
    again = here("train", arguments(shared, "autoencoder", tmp_path / "other", *few)).succeeded().output
    assert "representation: preparing" not in again


def test_two_ranks_train_one_model(shared: Path, tmp_path: Path) -> None:
    trained(shared, "vae")  # the data are there
    few = ("trainer.max_epochs=1", "evaluate.representation.factors=[colour]", *TWO_RANKS)
    for model in ("deforming_class_aware", "contrastive"):  # DDP refuses parameters without a gradient
        command("train.py", arguments(shared, model, tmp_path / model, *few)).succeeded()
        assert (tmp_path / model / run_files.REPRESENTATION).exists()
        assert len(curve(tmp_path / model, "valid_loss")) == 1
        assert results(tmp_path / model)["items"]["training"] > 0


def test_a_learned_encoder_carries_a_run_from_embeddings_to_completed_outfits(shared: Path, tmp_path: Path) -> None:
    learned = tmp_path / "learned"
    shutil.copytree(trained(shared, "vae"), learned)
    place = [f"data.root={tmp_path / 'data'}", f"cache_dir={tmp_path / 'cache'}", f"run_dir={tmp_path / 'run'}"]
    encoder = ["encoder.image=learned", f"encoder.image.run={learned}"]
    here("train", [f"experiment={RECIPE}", *place, *encoder]).succeeded()
    again = here("train", [f"experiment={RECIPE}", *place, *encoder, "stages=[embeddings]"]).succeeded().output
    assert "embeddings: reusing" in again, "cached like any other"
    (stored,) = (tmp_path / "cache" / "embeddings").glob("*/embeddings.npy")
    assert np.load(stored).shape[1] == 32 + 8
    shutil.rmtree(learned)  # a finished run keeps what a stylist needs
    stylist = Stylist.load(tmp_path / "run")
    photo = tmp_path / "own.png"
    Image.new("RGB", (40, 40), "navy").save(photo)
    done = stylist.complete([Garment("Skirts", "navy skirt", str(photo))], k=1, top=1)
    assert len(done) == 1


def test_mistakes_end_in_one_line(shared: Path, tmp_path: Path) -> None:
    place = [f"data.root={tmp_path / 'data'}", f"cache_dir={tmp_path / 'cache'}"]
    learned = [f"experiment={RECIPE}", *place, f"run_dir={tmp_path / 'run'}", "encoder.image=learned"]
    message = here("train", [*learned, f"encoder.image.run={tmp_path / 'nowhere'}"]).mistake()
    assert message.startswith("config error: encoder.learned.run: there is no folder")
    root = tmp_path / "spoiled"
    trained(shared, "vae")
    shutil.copytree(shared / "data", root)
    image = sorted((root / "images").rglob("*.jpg"))[0]
    image.write_bytes(image.read_bytes()[:50])
    spoiled = [*SMALL, f"data.root={root}", f"cache_dir={tmp_path / 'cache'}", "trainer.max_epochs=1"]
    message = here("train", [*spoiled, f"run_dir={tmp_path / 'spoiled-run'}"]).mistake()
    assert str(image) in message
    assert "data.on_corrupt_image=mask" in message
