"""Stage one: from sound to a motion curve and a keyframe plan."""
