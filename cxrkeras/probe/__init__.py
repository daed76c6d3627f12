"""A linear probe on frozen features: the smallest classifier that says what a backbone already tells apart.

Arrays in, arrays out; knows no network, no film and no artefact.
"""
