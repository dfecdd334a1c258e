"""Losses: pure functions, tensors in, one scalar tensor out. One file per family."""
