"""Keys of the command line of outfits-export."""

from dataclasses import dataclass

from outfits.config.fields import key


@dataclass
class ExportCommand:
    run: str | None = key(None, "folder of a finished run")
    folder: str | None = key(None, "folder to write: new, empty, or an earlier export, which is replaced")
    licence: str | None = key(
        None, "licence of the data, for the model card; null: that of the data format, where it has one"
    )
    onnx: bool = key(False, "write S, generator and image encoder as ONNX files too, checked against torch")
    push: str | None = key(None, "ORG/NAME on the Hugging Face Hub to upload the folder to; null: nothing is uploaded")
    private: bool = key(False, "push: a new repository is private")
    cache_dir: str | None = key(None, "folder of the run's embeddings; null: where the run left them")
