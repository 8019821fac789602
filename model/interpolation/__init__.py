"""Stage three: keyframes become all frames."""
