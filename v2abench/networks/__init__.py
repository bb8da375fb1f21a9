"""Feature networks and their front ends, one a file."""
