"""Drift: how maps of the same films changed between two checkpoints, and what training again would have changed."""
