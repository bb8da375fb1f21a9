"""Model adapters: folders of files, controls, and the baselines."""
