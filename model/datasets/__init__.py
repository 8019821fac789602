"""Data sets of others, as folders of videos: which clips there are, what is broken, and what training sees of them."""
