"""The C-Score: how much the explanations of one class agree across patients.

As described in the abstract of arXiv 2604.08502; every constant is ours and stored with the result.
Arrays in, tables out; knows no model, run or file.
"""

from cxrkeras.consistency.result import PER_CLASS_COLUMNS, ConsistencyScore
from cxrkeras.consistency.score import c_score
from cxrkeras.consistency.similarity import pair_similarity
from cxrkeras.consistency.sweep import sweep

__all__ = ["PER_CLASS_COLUMNS", "ConsistencyScore", "c_score", "pair_similarity", "sweep"]
