"""One BLAS thread for many small decompositions in a row, whose threads would mostly wait for each other.

On two busy cores the out-of-fold scores of 600 films cost a tenth of the processor time so. Knows no arithmetic.
"""

from __future__ import annotations

from threadpoolctl import threadpool_limits

one_thread = threadpool_limits.wrap(limits=1, user_api="blas")
