"""Which weights to start from: scores of frozen features, their uncertainty, similarity, cards and agreement.

Arrays in, tables out; knows no network, no file and no run.
"""
