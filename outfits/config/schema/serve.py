"""Keys of the command line of serve.py."""

from dataclasses import dataclass

from outfits.config.fields import key, section


@dataclass
class ServeConfig:
    host: str = key("127.0.0.1", "address that the page is served on; 0.0.0.0: to the whole network")
    port: int = key(7860, "port that the page is served on", ge=1, le=65535)
    max_upload_mb: int = key(10, "largest photo that a visitor may upload, megabytes", ge=1)
    max_megapixels: float = key(50, "largest photo that is decoded, million pixels", gt=0)


@dataclass
class ServeCommand:
    run: str | None = key(None, "folder of a finished run")
    device: str = key("cpu", "where the models run, as torch names it: cpu, cuda or mps")
    cache_dir: str | None = key(None, "folder of the run's embeddings; null: where the run left them")
    data_root: str | None = key(None, "folder of the run's data set, for images; null: where the run found it")
    serve: ServeConfig = section(ServeConfig)
