"""Preference data: samples of a model, scores, pairs, and ratings by people."""
