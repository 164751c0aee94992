"""Names all files and folders within a run's folder."""

CONFIG = "config.yaml"
DATASET = "dataset.json"
COMPATIBILITY = "compatibility.json"
SCORER = "scorer.safetensors"
JUDGE = "judge.safetensors"
STUDENT = "student.safetensors"
TARGETS = "targets.json"
SELECTED = "selected.csv"
RETRIEVER = "retriever.safetensors"
RECOMMENDER = "recommender.safetensors"
PEER = "peer.pt"
GRNET = "grnet.safetensors"
GENERATOR = "generator.safetensors"
DECODER = "decoder.safetensors"
REPRESENTATION = "representation.safetensors"
MULTITASK = "multitask_model.safetensors"
IMAGING = "imaging.json"
IMAGING_NETWORKS = "imaging"  # folder of its networks, each named by its training
NETWORK = "network.safetensors"
TRAINING = "training.json"

CHECKPOINTS = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"

SHARDS = "shards"

REPORT = "report"
RESULTS = "results.json"
RESULTS_TABLE = "results.csv"
PAGE = "index.html"
POOLS = "pools.json"
RETRIEVAL = "retrieval"
PERSONAL = "personal"
PARTS = "parts"
MULTITASK_REPORT = "multitask"
IMAGINE = "imagine"

STYLIST = "stylist"
STYLIST_MANIFEST = "manifest.json"
STYLIST_CATALOGUE = "catalogue.parquet"
STYLIST_OUTFITS = "outfits.parquet"
STYLIST_USERS = "users.parquet"
STYLIST_IMAGES = "image_encoder.npz"
STYLIST_TIMM = "timm_encoder.npz"
STYLIST_PYRAMID_FIT = "local_features.npz"
STYLIST_PYRAMIDS = "pyramids.npz"
STYLIST_TEXTS = "text_encoder.npz"
STYLIST_REFINEMENT = "refinement.npz"
STYLIST_CHANGES = "changes.sqlite"
STYLIST_ADDED_IMAGES = "added_images"

EMBEDDINGS = "embeddings"  # in the cache, and in an exported run
CARD = "README.md"
CARD_FACTS = "config.json"
ONNX = "onnx"
# what an exported run has of a run's folder, beside the networks
EXPORTED = (CONFIG, DATASET, COMPATIBILITY, SELECTED)
# networks that stay with the run: that of a stage of its own, and one with a vector for every user
UNEXPORTED_NETWORKS = (REPRESENTATION, RECOMMENDER, MULTITASK)
# beginnings of names in the stylist's folder of what was done in use, and of all that stays: paths and users besides
DONE_IN_USE = (STYLIST_CHANGES, STYLIST_ADDED_IMAGES)
UNEXPORTED_OF_STYLIST = (STYLIST_MANIFEST, STYLIST_USERS, *DONE_IN_USE)

# what a run writes before its first product, each of which takes time to make
BEFORE_PRODUCTS = (CONFIG, DATASET, STYLIST)
