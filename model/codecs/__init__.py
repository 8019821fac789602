"""What turns pictures into latents and back."""
