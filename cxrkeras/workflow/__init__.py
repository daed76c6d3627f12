"""One file a command's work: opens a run, calls the rooms below, writes the run; prints nothing."""
