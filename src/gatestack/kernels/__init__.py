"""The seam where recurrent layers meet the code that computes them.

Everything in `gatestack.nn` computes through `gatestack.kernels.recurrent` and through nothing else. Today
that module calls torch's own operators; compiled kernels come in there, behind the same functions.
"""
