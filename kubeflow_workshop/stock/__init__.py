"""The case study: predict tomorrow's closing price, and find out honestly whether the forecast is
any good.
"""
