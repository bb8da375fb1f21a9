"""`impacts` or `impacts:SPLIT`: the embedded benchmark, rendered on first use and cached."""

from dataclasses import replace

from v2abench.clips import Dataset
from v2abench.datasets.opening import DatasetOptions, refuse_options
from v2abench.home import home


def open_impacts(argument: str, options: DatasetOptions) -> Dataset:
    """Render what is missing of the split (default `test`) and return it, with as many distractors."""
    from v2abench.impacts.datasets import impacts_dataset  # noqa: PLC0415 (rendering code only where it is used)
    from v2abench.impacts.scenes import split_size  # noqa: PLC0415

    split = argument or "test"
    refuse_options(f"impacts:{split}", options, "reference", "data_root")
    size = split_size(split)
    wanted = min(2 * (options.limit or size), size)
    with options.progress(f"render impacts {split}", wanted) as advance:
        reported = 0

        def report(done: int, _total: int) -> None:
            nonlocal reported
            advance(done - reported)
            reported = done

        dataset = impacts_dataset(
            split, options.limit, cache=home(), distractors=True, workers=options.workers, progress=report
        )
    return replace(dataset, name=f"impacts-{split}")
