"""The diffusion process as pure functions: schedule, DDIM, guidance, noise, and the one denoising loop."""
