"""Fetch (files of) a Hugging Face repository: `fetch_from_hub.py REPOSITORY FOLDER|- [PATTERN ...]`.

Runs in a model's own environment, with the huggingface_hub that is installed there, which
goes on where an earlier download ended. `-` keeps the files in the shared cache.
"""

import sys

from huggingface_hub import snapshot_download

OTHER_FRAMEWORKS = ["*.h5", "*.msgpack", "*.ot", "*.onnx"]
"""The same weights once more, as nothing here reads them."""


def main() -> None:
    """Fetch what the command line names."""
    repository, folder, *patterns = sys.argv[1:]
    place = {} if folder == "-" else {"local_dir": folder}
    snapshot_download(repository, allow_patterns=patterns or None, ignore_patterns=OTHER_FRAMEWORKS, **place)


if __name__ == "__main__":
    main()
