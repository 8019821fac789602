"""How published checkpoints map onto our networks."""
