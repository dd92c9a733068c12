"""KServe on a laptop and on a cluster: a model version is served, whoever trained it.

Taught in notebook 09. This room knows nothing of the case study: a model takes windows of numbers,
oldest first, and gives the number that comes next.
"""
