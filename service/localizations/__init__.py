"""Localizations: what the model hears in a sound, without making a video."""
