"""Where work is done: in this process, in one a device, or on a Ray cluster. No engine changes a value."""
