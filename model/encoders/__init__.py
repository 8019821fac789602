"""What turns text, pictures and sound into conditioning tokens."""
