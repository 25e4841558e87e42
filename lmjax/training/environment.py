"""Software and hardware of this process, as facts for the report and the doctor."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from typing import Any

PACKAGES = ('lmjax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')


def environment() -> dict[str, Any]:
    """Versions, devices and machine; starts the devices if nothing has yet."""
    import jax

    devices = jax.devices()
    return {
        'python': platform.python_version(),
        **versions(PACKAGES),
        'system': f'{platform.system()} {platform.machine()}',
        'platform': devices[0].platform,
        'device_kind': devices[0].device_kind,
        'device_count': len(devices),
        'process_count': jax.process_count(),
        **machine(),
    }


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Package -> version, of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Processor, the cores that this process may use, and memory in GB (None where the system does not say)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return {'cpu': _cpu_model(), 'cores': cores, 'memory_gb': _memory_gb()}


def _cpu_model() -> str:
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            match = re.search(r'^model name\s*: (.+)$', file.read(), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
