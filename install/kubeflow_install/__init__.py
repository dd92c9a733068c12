"""The cluster track: a Kubeflow that fits a laptop, by `install/cluster.py`.

Of the standard library only, and for Python 3.9 on, because it runs before the course's environment
exists. For the same reason it imports nothing of `kubeflow_workshop`; the numbers that both hold
are compared in `tests/install/test_agreement.py`.
"""
