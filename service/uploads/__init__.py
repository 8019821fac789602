"""Uploads: files whose bytes go straight to storage, past this API, and are checked once they are there."""
