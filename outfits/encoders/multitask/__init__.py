"""One model for several fashion tasks: FAME-ViL (Han et al. 2023), adapters around the two towers of a CLIP model."""
