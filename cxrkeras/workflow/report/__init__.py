"""Report: what is stored of runs and studies, gathered for one page."""
