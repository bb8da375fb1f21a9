"""Leaderboards over runs and published rows."""
