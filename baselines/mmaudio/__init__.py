"""MMAudio: joint training of video, text and audio for synthesis (Cheng et al., CVPR 2025).

The flow network, its conditions, the autoencoders and the model, written from the
equations; entry names are those of the official checkpoints. Code of upstream:
hkchengrex/MMAudio@974010a (MIT); its checkpoints are CC BY-NC 4.0.
"""
