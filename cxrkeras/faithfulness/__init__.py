"""Validity beside consistency: do the maps depend on the weights, and do the cells they name matter to the model?"""
