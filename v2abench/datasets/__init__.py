"""Where clips come from: folders, manifests, VGGSound, the embedded `impacts`."""
