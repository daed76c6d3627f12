"""Does a classifier lean on a shortcut? Artefacts that can be planted, who carries them, and what that does to answers.

Arrays in, arrays and tables out; knows no network, no file and no run.
"""
