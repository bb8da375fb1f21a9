"""From media files to features: content keys, the store, and the pass that fills it."""
