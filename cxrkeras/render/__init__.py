"""Arrays to pictures; the only importer of matplotlib. Knows no run, no model and no metric."""
