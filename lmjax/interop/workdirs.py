"""A workdir from an imported checkpoint: what `load` needs, at step 0."""

from __future__ import annotations

import os

from lmjax.config import UsageError
from lmjax.interop.folders import fresh_folder
from lmjax.interop.sources import import_checkpoint
from lmjax.models.params import count_params
from lmjax.training.checkpoint import Checkpointer
from lmjax.training.config import Config
from lmjax.training.workdir import write_config


def import_workdir(name: str, workdir: str, *, scan_layers: bool = False) -> tuple[Config, int]:
    """Writes `workdir` from a checkpoint such as 'hf:DIR'; returns its config and the number of its parameters.

    Raises:
      UsageError: the workdir is not empty, or what `import_checkpoint` refuses, or there is no tokenizer.
    """
    with fresh_folder(workdir) as temporary:
        config, params, tokenizer = import_checkpoint(name, scan_layers=scan_layers)
        if tokenizer is None:
            raise UsageError(f'{name}: has no tokenizer.json, which a workdir needs to read text; add the file')
        write_config(temporary, config)
        tokenizer.save(os.path.join(temporary, 'tokenizer'))
        checkpoints = Checkpointer(os.path.join(temporary, 'checkpoints'))
        checkpoints.save(0, {'params': params}, {'imported': name})
        checkpoints.close()
    return config, count_params(params)
