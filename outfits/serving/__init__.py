"""A page for people without a shell: a visitor's outfit, and what is done with it, around a stylist."""
