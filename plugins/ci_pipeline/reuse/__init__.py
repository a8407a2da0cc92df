"""Reusing what an earlier run has made of the same inputs: docs/reuse.md.

`asking.py` says beforehand of what a key is made, `taking.py` takes what is kept of one.
"""

from ci_pipeline.reuse.asking import KEYED, asked_of, may_reuse, means_of
from ci_pipeline.reuse.taking import Taking

__all__ = ["KEYED", "Taking", "asked_of", "may_reuse", "means_of"]
