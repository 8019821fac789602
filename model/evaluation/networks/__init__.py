"""Networks that only judge: the sync classifier, optical flow, and ImageBind's eyes and reading."""
