"""Models: which ones this server animates with."""
