"""The code that the notebooks of the Kubeflow workshop teach, and that every platform runs."""

import logging
import os
from importlib.metadata import version

# TensorFlow reads both when it is imported: the first hides its start-up log, and without the
# second it logs all the same (and sums in another order from one processor to the next).
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# A notebook that trains many small models is told at each that "tracing is expensive"; it knows.
logging.getLogger("tensorflow").addFilter(lambda record: "retracing" not in record.getMessage())

REPOSITORY = "https://github.com/FootprintAI/kubeflow-workshop"
"""The public repository: what badges and links point to."""
IMAGE = f"kubeflow-workshop:{version('kubeflow-workshop')}"
"""The image of trials, pipeline steps and servers. Never `latest`: a cluster would try to pull it.
"""
