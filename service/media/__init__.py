"""Uploads: what they are, whether they can be used, and their canonical form."""
