"""tiny-flow: a small rectified-flow video-to-audio model of the embedded world, trained by this package."""
