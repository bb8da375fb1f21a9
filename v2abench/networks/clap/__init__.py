"""CLAP: one space for sound and text, for the CLAP score.

Wu et al., "Large-Scale Contrastive Language-Audio Pretraining with Feature Fusion and
Keyword-to-Caption Augmentation", ICASSP 2023 (LAION-AI/CLAP). The network itself is that
of `transformers` (extra `clap`), HTSAT-base and RoBERTa-base; `checkpoint` brings the
official weights into it, `audio` and `text` are the two halves.
"""
