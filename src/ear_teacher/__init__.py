"""Ear Teacher: forecast, train and diagnose image VAEs on ear photos."""
