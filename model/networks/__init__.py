"""The networks of the two diffusion stages, each beside its frozen configuration."""
