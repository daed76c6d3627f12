"""Sources: candidates for the first weights, compared on the films at hand, in one directory."""
