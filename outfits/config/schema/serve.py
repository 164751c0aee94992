"""Keys of the command line of serve.py."""

from dataclasses import dataclass

from outfits.config.fields import absolute, key, section

PROPOSING_METHODS = ("generator_beam", "generator_rerank", "generator", "greedy_k", "beam", "retrieval")
"""Methods that the page and the service offer, the first by default: those that answer soon, whatever is asked."""
MOST_ITEMS = 20
"""Items of an outfit on the page and in a request to the service."""
LOOPBACK = "127.0.0.1"
"""Address that only this machine reaches."""
HOSTS = (LOOPBACK, "0.0.0.0", "::")
"""Addresses that the service can be on; the page may have any."""
FIRST_PORT = 1024
"""Smallest port of the service."""


@dataclass
class ServeConfig:
    api: bool = key(False, "serve JSON over HTTP for programs, instead of the page")
    host: str = key(LOOPBACK, "address that is served on; 0.0.0.0: to the whole network")
    port: int = key(7860, "port that is served on", ge=1, le=65535)
    max_upload_mb: int = key(10, "largest photo that may be uploaded, megabytes", ge=1)
    max_megapixels: float = key(50, "largest photo that is decoded, million pixels", gt=0)
    max_request_mb: int = key(40, "largest request to the service, megabytes", ge=1)
    workers: int = key(1, "processes of the service with models, for each device", ge=1)
    max_batch: int = key(32, "most requests to the service that are answered together", ge=1)
    batch_wait_ms: float = key(
        5,
        "how long the service waits for a further request to answer together with others, milliseconds",
        ge=0,
        le=1000,
    )
    timeout: float = key(30, "after how many seconds a request to the service is refused", gt=0)
    users: bool = key(
        False, "list the users that the run knows on the page, which completes for one of them; every visitor sees them"
    )
    keep: str | None = key(
        None, "folder for the outfits and photos of visitors of the page; null: nothing is kept", check=absolute
    )


@dataclass
class ServeCommand:
    run: str | None = key(None, "folder of a finished run")
    device: str = key("cpu", "where the models run, as torch names it: cpu, cuda or mps")
    cache_dir: str | None = key(None, "folder of the run's embeddings; null: where the run left them")
    data_root: str | None = key(None, "folder of the run's data set, for images; null: where the run found it")
    serve: ServeConfig = section(ServeConfig)
