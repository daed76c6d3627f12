"""Gallery: the same films explained by several runs or methods, with the numbers under each cell."""
