"""Image models that learn a code from a catalogue's own pictures: autoencoders, VAEs, a contrastive tower."""
