"""Clips made by code: a picture, a sound, and the law by which the one moves to the other.

Everything derives from a seed. Scene coordinates run right from 0 to 1.6 and down from 0 to 1 (a picture is one unit
high), so that a scene can be drawn at any size.
"""
