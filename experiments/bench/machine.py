"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def machine() -> dict[str, Any]:
    """The device, PyTorch's threads, versions (None: not installed) and the load of the machine."""
    import jax
    import torch

    device = jax.devices()[0]
    return {
        'device': _processor() if device.platform == 'cpu' else device.device_kind,
        'threads': torch.get_num_threads(),
        'jax': jax.__version__,
        'torch': torch.__version__,
        'transformers': _version('transformers'),
        'load': os.getloadavg()[0],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open('/proc/cpuinfo') as lines:
            return next(line.split(':', 1)[1].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
