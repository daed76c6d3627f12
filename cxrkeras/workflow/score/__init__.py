"""Score: the C-Score of checkpoints, or of maps from any file."""
