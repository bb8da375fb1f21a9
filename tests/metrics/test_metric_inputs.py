"""The inputs must be those that the goldens were made from, or parity means nothing."""

import numpy as np
import pytest
from metric_inputs import GOLDENS, golden_features, golden_logits


@pytest.mark.parametrize("key", sorted(k for k in GOLDENS if k.startswith("in_feats_")))
def test_features(key: str) -> None:
    n, d, part = map(int, key.removeprefix("in_feats_").split("_"))
    x = golden_features(n, d, part)
    found = [x.sum(dtype=np.float64), x[0, 0], x[-1, -1], np.abs(x).max()]
    np.testing.assert_allclose(found, GOLDENS[key], rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("key", sorted(k for k in GOLDENS if k.startswith("in_logits_")))
def test_logits(key: str) -> None:
    generated, reference = golden_logits(int(key.removeprefix("in_logits_")))
    found = [
        generated.sum(dtype=np.float64),
        reference.sum(dtype=np.float64),
        generated[0, 0],
        reference[-1, -1],
    ]
    np.testing.assert_allclose(found, GOLDENS[key], rtol=1e-12, atol=1e-9)
