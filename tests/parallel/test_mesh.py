"""Mesh shapes: what is built, and what is refused with which remedy."""

import jax
import pytest

from lmjax.config import UsageError
from lmjax.parallel.config import MeshConfig
from lmjax.parallel.mesh import make_mesh, mesh_shape, validate


@pytest.mark.parametrize(
    ('config', 'shape'),
    [
        (MeshConfig(), (1, 1, 1)),
        (MeshConfig(data=8), (8, 1, 1)),
        (MeshConfig(data=-1), (8, 1, 1)),
        (MeshConfig(data=2, fsdp=-1, tensor=2), (2, 2, 2)),
        (MeshConfig(fsdp=3, tensor=2), (1, 3, 2)),
        (MeshConfig(data=8, tensor=-1), (8, 1, 1)),
    ],
    ids=str,
)
def test_make_mesh(config, shape):
    mesh = make_mesh(config)
    assert dict(mesh.shape) == dict(zip(('data', 'fsdp', 'tensor'), shape, strict=True))
    assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}
    assert len(set(mesh.devices.flat)) == mesh.size


def test_make_mesh_over_given_devices():
    devices = jax.devices()[4:]
    assert set(make_mesh(MeshConfig(data=-1), devices).devices.flat) == set(devices)
    assert make_mesh(MeshConfig(), devices).devices.item() == devices[0]


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (MeshConfig(data=0), r'mesh\.data=0: must be a number of devices, or -1 for the rest$'),
        (MeshConfig(tensor=-2), r'mesh\.tensor=-2: must be'),
        (MeshConfig(data=-1, fsdp=-1), r'mesh=data=-1,fsdp=-1,tensor=1: only one axis .*try data=-1,fsdp=1,tensor=1$'),
        (MeshConfig(data=16), r'mesh=data=16,fsdp=1,tensor=1: needs 16 devices and there are 8; try data=8,fsdp=1,tensor=1$'),
        (MeshConfig(data=4, tensor=4), r'needs 16 devices and there are 8; try data=(4,fsdp=1,tensor=2|2,fsdp=1,tensor=4)$'),
        (MeshConfig(data=-1, tensor=3), r'tensor=3: 3 does not divide 8 devices; try data=2,fsdp=1,tensor=4$'),
    ],
    ids=str,
)
def test_contradictions_are_refused(config, message):
    with pytest.raises(UsageError, match=message):
        mesh_shape(config, 8)


@pytest.mark.parametrize('n_devices', [1, 2, 6, 8, 12])
@pytest.mark.parametrize('config', [MeshConfig(data=5, fsdp=3), MeshConfig(data=-1, fsdp=7), MeshConfig(tensor=64)], ids=str)
def test_the_remedy_works(config, n_devices):
    with pytest.raises(UsageError) as error:
        mesh_shape(config, n_devices)
    remedy = dict(pair.split('=') for pair in str(error.value).split('try ')[1].split(','))
    shape = mesh_shape(MeshConfig(**{name: int(size) for name, size in remedy.items()}), n_devices)
    assert shape[0] * shape[1] * shape[2] == n_devices


def test_the_batch_must_divide():
    mesh = MeshConfig(data=2, fsdp=2, tensor=2)
    validate(mesh, n_devices=8, batch_size=24, accumulate=3)
    with pytest.raises(UsageError, match=r'^train\.batch_size=26: must be a multiple of 4, .*4 devices.*; try 24$'):
        validate(mesh, n_devices=8, batch_size=26)
    with pytest.raises(UsageError, match=r'^train\.batch_size=16: must be a multiple of 12, 3 microbatches .*; try 12$'):
        validate(mesh, n_devices=8, batch_size=16, accumulate=3)
    with pytest.raises(UsageError, match=r'^train\.batch_size=0: '):
        validate(mesh, n_devices=8, batch_size=0)
    with pytest.raises(UsageError, match=r'^train\.accumulate=0: '):
        validate(mesh, n_devices=8, batch_size=8, accumulate=0)
    with pytest.raises(UsageError, match='needs 8 devices and there are 4'):
        validate(mesh, n_devices=4, batch_size=8)
