"""Media in and out: pictures and sounds become clips and mel spectrograms, frames become an MP4."""
