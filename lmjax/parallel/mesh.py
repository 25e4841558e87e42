"""The device mesh: its axes by config, built in this one place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmjax.config import UsageError, require
from lmjax.parallel.config import MeshConfig

if TYPE_CHECKING:
    import jax


AXES = tuple(field.name for field in dataclasses.fields(MeshConfig))


def mesh_shape(config: MeshConfig, n_devices: int) -> tuple[int, ...]:
    """Devices along data, fsdp and tensor, -1 resolved; at most `n_devices` in all.

    Raises UsageError that names the nearest shape that works.
    """
    sizes = dataclasses.astuple(config)
    for name, size in zip(AXES, sizes, strict=True):
        require(size == -1 or size >= 1, f'mesh.{name}', size, 'must be a number of devices, or -1 for the rest')
    named = f'mesh={_text(sizes)}'
    if sizes.count(-1) > 1:
        first = sizes.index(-1)
        single = tuple(1 if size == -1 and axis != first else size for axis, size in enumerate(sizes))
        raise UsageError(f'{named}: only one axis can be -1, the rest of the devices; try {_text(single)}')
    fixed = math.prod(size for size in sizes if size != -1)
    if -1 in sizes:
        if n_devices % fixed:
            raise UsageError(
                f'{named}: {fixed} does not divide {n_devices} devices; try {_text(nearest_shape(sizes, n_devices))}'
            )
        return tuple(n_devices // fixed if size == -1 else size for size in sizes)
    if fixed > n_devices:
        remedy = f'try {_text(nearest_shape(sizes, n_devices))}'
        raise UsageError(f'{named}: needs {fixed} devices and there are {n_devices}; {remedy}')
    return sizes


def nearest_shape(sizes: Sequence[int], n_devices: int) -> tuple[int, ...]:
    """The shape of exactly `n_devices` whose fixed axes are the closest, in factors, to the ones asked for."""
    divisors = [size for size in range(1, n_devices + 1) if n_devices % size == 0]
    shapes = [(a, b, n_devices // (a * b)) for a in divisors for b in divisors if n_devices % (a * b) == 0]

    def distance(shape: tuple[int, ...]) -> float:
        pairs = zip(sizes, shape, strict=True)
        return sum(abs(math.log(want / size)) for want, size in pairs if want != -1)

    return min(shapes, key=distance)


def _text(sizes: Sequence[int]) -> str:
    return ','.join(f'{name}={size}' for name, size in zip(AXES, sizes, strict=True))


def validate(config: MeshConfig, *, n_devices: int, batch_size: int, accumulate: int = 1) -> None:
    """Raises UsageError unless the mesh fits the devices, and the batch divides by microbatches and by devices."""
    data, fsdp, _ = mesh_shape(config, n_devices)
    require(batch_size >= 1, 'train.batch_size', batch_size, 'must be at least 1')
    require(accumulate >= 1, 'train.accumulate', accumulate, 'must be at least 1; 1 turns it off')
    rows = data * fsdp
    unit = accumulate * rows
    if batch_size % unit:
        parts = f'{accumulate} microbatches of rows over {rows} devices (mesh.data * mesh.fsdp)'
        remedy = f'must be a multiple of {unit}, {parts}; try {max(round(batch_size / unit), 1) * unit}'
        raise UsageError(f'train.batch_size={batch_size}: {remedy}')


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """The mesh of a config over `devices` (all by default), of which it uses as many as its shape says.

    Its axis types are Auto: the compiler chooses what the rules of sharding.py leave open.
    Raises UsageError for a shape that does not fit.
    """
    import jax

    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(config, len(devices))
    types = (jax.sharding.AxisType.Auto,) * len(AXES)
    return jax.make_mesh(shape, AXES, devices=devices[: math.prod(shape)], axis_types=types)
