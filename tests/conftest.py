"""What all tests share."""

import matplotlib

matplotlib.use("agg")  # no window, whatever machine; kernels choose their own
