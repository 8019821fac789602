"""How well a model does: metrics on finished videos, and reports of them."""
