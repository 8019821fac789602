"""The HTTP API. It hands work to `workers` through their front door and never imports torch."""
