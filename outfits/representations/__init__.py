"""Image models that learn a latent from a catalogue's own images: autoencoders, VAEs, a contrastive tower."""
