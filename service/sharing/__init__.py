"""Share links: one finished video for whoever has its address, until a time."""
