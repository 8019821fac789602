"""Files: pictures and sounds that are sent before the video that uses them."""
