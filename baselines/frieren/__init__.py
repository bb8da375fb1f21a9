"""Frieren: video to audio by rectified flow matching.

Wang et al., "Frieren: Efficient Video-to-Audio Generation with Rectified Flow
Matching", NeurIPS 2024 (cyanbx/Frieren-V2A@0c39692, Apache-2.0). CAVP rows of the video
condition a flow on the latents of a mel autoencoder; BigVGAN makes the waveform. Time
runs as everywhere here, from noise at 0 to data at 1, in thousandths.
"""
