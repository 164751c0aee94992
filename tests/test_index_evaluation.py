"""Another kind of index is another result: evaluation does not take one for the other."""

import evaluate
from tests.tiny_run import make_run


def test_shards_of_one_kind_of_index_are_not_taken_for_those_of_another(tmp_path, capsys):
    run = make_run(tmp_path)
    few = [
        "evaluate.methods=[generator]",
        "evaluate.conditions=[]",
        "evaluate.outfits=4",
        "evaluate.gallery=0",
        "wandb.mode=off",
    ]
    for kind in ("flat", "ivf"):
        for _ in range(2):
            evaluate.main([f"run={run}", *few, f"index.kind={kind}"])
    said = [line for line in capsys.readouterr().out.splitlines() if "test: generator:" in line]
    assert ["reusing" in line for line in said] == [False, True, False, True]
    assert len([path for path in (run / "shards").iterdir() if path.is_dir()]) == 2
    assert "kind: ivf" in (run / "report" / "config.yaml").read_text()
    assert "kind: flat" in (run / "config.yaml").read_text()
