"""Katib's Experiments: the object, here, and there."""
