"""Nothing grows faster than its input: what hostile inputs cost is counted at two sizes, for every parser, walk and report.

`make stress` counts the same at larger sizes (`python -m tests.growth`).
"""
