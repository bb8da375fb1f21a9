"""Synchformer: by how much sound and picture are out of step, for DeSync.

Iashin, Xie, Rahtu and Zisserman, "Synchformer: Efficient Synchronization from
Sparse Cues", ICASSP 2024, with the AudioSet weights of 24-01-04T16-39-21, used as
av-benchmark does (hkchengrex/av-benchmark@050a5cd). Picture and sound are cut into
segments of 0.64 s every 0.32 s; `visual` and `audio` encode each segment by itself,
`comparison` says of 14 segments of both which of 21 offsets separates them.
"""
