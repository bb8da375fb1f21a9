"""One of two processes that train together: `python two_processes.py PAIRS FOLDER OUTPUT`."""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from test_dpo_training import RECIPE
from toy_flow import ToyFlow, toy_data

from v2abench.finetune.dpo import start_dpo

if __name__ == "__main__":
    pairs, folder, output = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    model, accelerator = ToyFlow(), Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    recipe = RECIPE.model_copy(update={"per_device_train_batch_size": 4})
    run = start_dpo(model, toy_data(pairs, model), recipe, folder, accelerator=accelerator, fingerprint="toy")
    run.train()
    torch.save(run.trainer.raw_weights(), output / f"{accelerator.process_index}.pt")
    accelerator.end_training()
