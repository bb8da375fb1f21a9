"""Metric mathematics of torchmetrics and torch-fidelity, for `metric_mathematics.py`: a process of its own.

It runs in the interpreter where the peers are installed and needs nothing of v2abench. The first line
of its output maps each peer to its version, or to null where it is not installed. Then, for each line of
input, `{"peer": ..., "metric": ..., "arrays": FILE.npz, "options": {...}}`, it answers with `{"value": ...,
"seconds": ...}`: processor seconds, without reading the file. Arrays are float64, `generated` and
`reference`, (n, d) each: embeddings for FD and KID, logits for IS and KL.
"""

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PEERS = ("torchmetrics", "torch-fidelity")

Metric = Callable[..., float]


class AsTheyAre(nn.Module):
    """Features that are there already, where torchmetrics wants a network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        """Return the features."""
        return features


def torchmetrics_metrics() -> dict[str, Metric]:
    """Return metric -> function of (generated, reference, options)."""
    from torchmetrics.functional import kl_divergence  # noqa: PLC0415 (only where it is installed)
    from torchmetrics.image.fid import FrechetInceptionDistance  # noqa: PLC0415
    from torchmetrics.image.inception import InceptionScore  # noqa: PLC0415
    from torchmetrics.image.kid import KernelInceptionDistance  # noqa: PLC0415

    def two_sets(metric: Any, generated: Tensor, reference: Tensor) -> Any:
        metric.update(reference, real=True)
        metric.update(generated, real=False)
        return metric.compute()

    def fd(generated: Tensor, reference: Tensor) -> float:
        metric = FrechetInceptionDistance(feature=AsTheyAre(generated.shape[1]))
        return float(two_sets(metric, generated, reference))

    def kid(generated: Tensor, reference: Tensor, subsets: int, subset_size: int) -> float:
        metric = KernelInceptionDistance(AsTheyAre(generated.shape[1]), subsets, subset_size)
        return float(two_sets(metric, generated, reference)[0])

    def inception(generated: Tensor, _reference: Tensor, splits: int) -> float:
        metric = InceptionScore(AsTheyAre(generated.shape[1]), splits=splits)
        metric.update(generated)
        return float(metric.compute()[0])

    def kl(generated: Tensor, reference: Tensor) -> float:
        logs = reference.log_softmax(1), generated.log_softmax(1)
        return float(kl_divergence(*logs, log_prob=True))

    return {"FD": fd, "KID": kid, "IS": inception, "KL": kl}


def fidelity_metrics() -> dict[str, Metric]:
    """Return metric -> function of (generated, reference, options)."""
    from torch_fidelity.metric_fid import (  # noqa: PLC0415 (only where it is installed)
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )
    from torch_fidelity.metric_isc import isc_features_to_metric  # noqa: PLC0415
    from torch_fidelity.metric_kid import kid_features_to_metric  # noqa: PLC0415

    def fd(generated: Tensor, reference: Tensor) -> float:
        statistics = [fid_features_to_statistics(side) for side in (generated, reference)]
        (value,) = fid_statistics_to_metric(*statistics, verbose=False).values()
        return float(value)

    def kid(generated: Tensor, reference: Tensor, subsets: int, subset_size: int) -> float:
        sizes = {"kid_subsets": subsets, "kid_subset_size": subset_size, "rng_seed": 2020}
        found = kid_features_to_metric(generated, reference, **sizes, verbose=False)
        return float(found["kernel_inception_distance_mean"])

    def inception(generated: Tensor, _reference: Tensor, splits: int) -> float:
        found = isc_features_to_metric(generated, splits, shuffle=True, rng_seed=2020)
        return float(found["inception_score_mean"])

    return {"FD": fd, "KID": kid, "IS": inception}


def installed() -> dict[str, str | None]:
    """Return peer -> version, None where it is not installed."""
    found: dict[str, str | None] = {}
    for peer in PEERS:
        try:
            found[peer] = version(peer)
        except PackageNotFoundError:
            found[peer] = None
    return found


def answer(request: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Metric]]) -> dict[str, float]:
    """Return the value and the processor seconds of one request."""
    with np.load(request["arrays"]) as file:
        generated, reference = (torch.from_numpy(file[side]) for side in ("generated", "reference"))
    metric = metrics[request["peer"]][request["metric"]]
    start = time.process_time()
    value = metric(generated, reference, **request["options"])
    return {"value": value, "seconds": time.process_time() - start}


def main() -> None:
    warnings.simplefilter("ignore")
    # Whatever a peer prints must not get between the answers.
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        versions = installed()
        print(json.dumps(versions), file=answers, flush=True)
        makers = {"torchmetrics": torchmetrics_metrics, "torch-fidelity": fidelity_metrics}
        metrics = {peer: makers[peer]() for peer, found in versions.items() if found}
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), metrics)), file=answers, flush=True)


if __name__ == "__main__":
    main()
