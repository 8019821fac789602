"""Stage two: the plan, the first frame and the sound become keyframes."""
