"""Every public form of the data sets through the entry point, on a few outfits."""

from dataclasses import replace
from pathlib import Path

import pytest

from outfits.stylist import Stylist
from tests import public_forms
from tests.runs.programs import Place, here

pytestmark = pytest.mark.slow

SHORT = ("scorer.epochs=1", "judge.share=0", "stages=[embeddings,compatibility]")
FORMS = {
    "rows": ("data=polyvore_outfits", "data.category_level=semantic"),
    "marqo": ("data=maryland",),
    "pog": ("data=pog",),
    "iqon3000": ("data=iqon3000",),
    "shift15m": ("data=shift15m", "encoder.image=none"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_public_form_trains(form: str, tmp_path: Path) -> None:
    place = Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")
    getattr(public_forms, f"write_{form}_root")(place.data)
    said = here("train", [*place.arguments(), *FORMS[form], f"data.root={place.data}", *SHORT]).succeeded().output
    assert "auc_random" in said
    assert (place.run / "scorer.safetensors").is_file()
    if form != "shift15m":
        stylist = Stylist.load(place.run)
        path = stylist.item(stylist.item_ids[0]).image_path
        assert path is not None
        assert stylist.likely_categories(path)


def test_official_parquet_goes_through_every_stage(tmp_path: Path) -> None:
    place = Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")
    public_forms.write_official_parquet_root(place.data)
    form = ("data=polyvore_outfits", "data.variant=disjoint", f"data.root={place.data}", "encoder.num_workers=2")
    methods = "evaluate.methods=[original,random,greedy_k,generator_beam]"
    said = here("train", [*place.arguments(), *form, methods, "scorer.epochs=1"]).succeeded().output
    assert "images: 128 in test.parquet and 5 more file(s)" in said
    assert 'src="data:image/jpeg' in (place.run / "report" / "index.html").read_text(encoding="utf-8")
    moved = replace(place, data=place.data.rename(tmp_path / "moved"))
    where = [f"run={place.run}", f"cache_dir={place.cache}", f"data.root={moved.data}", methods]
    assert "reusing 128 vectors" in here("evaluate", where).succeeded().output
