"""Study: many runs in one directory, each piece of work done once, and the tables that put them side by side."""
