"""The two-stage training routine; hands its results to events and knows no files."""
