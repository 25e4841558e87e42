"""A checkpoint comes back bit for bit, on any mesh, and never partially, wrongly or silently."""

import functools
import json
import os
import shutil
import threading
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lmjax.config import UsageError
from lmjax.training.checkpoint import Checkpointer, DamagedError, all_finite, commit


class Moments(NamedTuple):
    count: jax.Array
    mu: dict
    nothing: None = None


def make_tree(offset=0.0):
    params = {'embed': jnp.arange(32.0).reshape(8, 4) + offset, 'layers': {'0': {'w': jnp.full((4, 8), 0.5, jnp.bfloat16)}}}
    return {
        'params': params,
        'opt': (Moments(jnp.int32(7), jax.tree.map(lambda x: x * 2, params)), ()),
        'root': jax.random.key_data(jax.random.key(3)),
        'empty': jnp.zeros((0, 3)),
        'flag': jnp.array([True, False]),
        'counts': np.array([1, 2**40], np.int64),
        'lr': 0.25,
    }


def abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype) if isinstance(x, jax.Array) else x, tree)


def assert_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.asarray(a).dtype == (np.asarray(b).dtype if hasattr(b, 'dtype') else np.float32)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A folder with the steps 1 and 2; tests that damage it work on a copy."""
    folder = tmp_path_factory.mktemp('saved') / 'checkpoints'
    checkpoints = Checkpointer(folder)
    checkpoints.save(1, make_tree(1), {'fingerprint': 'f1'}, 2.5)
    checkpoints.save(2, make_tree(2), {'fingerprint': 'f2', 'position': {10: 'a', 9: 'b'}}, 3.5)
    checkpoints.close()
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / 'checkpoints')


def test_round_trip_is_exact(saved):
    checkpoints = Checkpointer(saved)
    assert checkpoints.steps() == [1, 2]
    assert checkpoints.latest() == 2
    assert checkpoints.best() == 1
    got = checkpoints.restore(2, abstract(make_tree()))
    assert_same(got, make_tree(2))
    assert isinstance(got['counts'], np.ndarray)
    assert isinstance(got['opt'][0], Moments)
    assert isinstance(got['params']['embed'], jax.Array)
    assert not got['params']['embed'].committed


def test_manifest_tells_what_is_inside(saved):
    manifest = Checkpointer(saved).manifest(2)
    assert (manifest.step, manifest.metric) == (2, 3.5)
    assert manifest.meta == {'fingerprint': 'f2', 'position': {'10': 'a', '9': 'b'}}
    assert manifest.leaves['opt/0/mu/layers/0/w'] == ((4, 8), 'bfloat16')
    assert 'jax' in manifest.versions
    files = {path.relative_to(saved / '2').as_posix() for path in (saved / '2').rglob('*') if path.is_file()}
    assert set(manifest.files) == files - {'manifest.json'}


def test_part_restores_a_subtree_by_name(saved):
    params = make_tree(2)['params']
    assert_same(Checkpointer(saved).restore(2, abstract(params), part='params'), params)
    # A part is a whole folder of names: 'para' is not one, and what is missing in it is still an error.
    with pytest.raises(UsageError, match='embed stored nothing wanted'):
        Checkpointer(saved).restore(2, abstract(params), part='para')
    with pytest.raises(UsageError, match=r'params/layers/0/w stored bfloat16\[4,8\] wanted nothing'):
        Checkpointer(saved).restore(2, {'embed': params['embed']}, part='params')


def mesh_of(shape, names):
    devices = jax.devices()[: int(np.prod(shape))]
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names), devices=devices)


@pytest.mark.parametrize('shape', [(1, 1), (4, 1), (2, 4)])
def test_sharded_arrays_move_to_another_mesh(tmp_path, shape):
    x = jnp.arange(64.0).reshape(8, 8)
    source = NamedSharding(mesh_of((2, 4), ('data', 'tensor')), PartitionSpec('data', 'tensor'))
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(5, {'x': jax.device_put(x, source)}, {})
    target = NamedSharding(mesh_of(shape, ('tensor', 'fsdp')), PartitionSpec('fsdp', 'tensor'))
    got = checkpoints.restore(5, {'x': jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=target)})['x']
    checkpoints.close()
    assert got.sharding == target
    np.testing.assert_array_equal(got, x)


def test_buffers_may_be_donated_or_overwritten_at_once(tmp_path):
    step = jax.jit(functools.partial(jax.tree.map, lambda x: x + 1), donate_argnums=0)
    big, host = jnp.zeros((512, 1024)), np.zeros(100_000)
    checkpoints = Checkpointer(tmp_path)
    tree = {'big': big}
    step({'big': jnp.ones((512, 1024))})  # compiled before, so that it runs while the save does
    checkpoints.save(1, {**tree, 'host': host}, {})
    for _ in range(5):
        tree = step(tree)
    host += 1
    jax.block_until_ready(tree)
    got = checkpoints.restore(1, {'big': jax.ShapeDtypeStruct((512, 1024), jnp.float32), 'host': host})
    checkpoints.close()
    assert not got['big'].any()
    assert not got['host'].any()


def mutate(tree, name):
    params = tree['params']
    if name == 'width':
        params['embed'] = jnp.zeros((8, 6))
    elif name == 'type':
        params['embed'] = params['embed'].astype(jnp.bfloat16)
    elif name == 'depth':
        params['layers']['1'] = params['layers']['0']
    elif name == 'shallow':
        params['layers'] = {}
    elif name == 'renamed':
        params['embedding'] = params.pop('embed')
    elif name == 'optimizer':
        tree['opt'] = ()
    return tree


@pytest.mark.parametrize(
    ('name', 'phrase'),
    [
        ('width', r'params/embed stored float32\[8,4\] wanted float32\[8,6\]'),
        ('type', r'params/embed stored float32\[8,4\] wanted bfloat16\[8,4\]'),
        ('depth', r'params/layers/1/w stored nothing wanted bfloat16\[4,8\]'),
        ('shallow', r'params/layers/0/w stored bfloat16\[4,8\] wanted nothing'),
        (
            'renamed',
            r'params/embedding stored nothing wanted float32\[8,4\]; params/embed stored float32\[8,4\] wanted nothing',
        ),
        ('optimizer', r'opt/0/count stored int32\[\] wanted nothing'),
    ],
)
def test_another_structure_is_refused_before_loading(saved, monkeypatch, name, phrase):
    monkeypatch.setattr('lmjax.training.checkpoint.orbax_io.read_arrays', lambda *_: pytest.fail('loaded'))
    with pytest.raises(UsageError, match=f'^checkpoint 2 does not fit: .*{phrase}') as error:
        Checkpointer(saved).restore(2, mutate(make_tree(), name))
    assert '\n' not in str(error.value)


def files_of(folder):
    return sorted(path for path in folder.rglob('*') if path.is_file())


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize('damage', [flip, truncate, os.unlink])
def test_damage_to_any_file_is_found_named_and_set_aside(copy, damage):
    names = [path.relative_to(copy / '2') for path in files_of(copy / '2')]
    assert len(names) > 5
    for name in names:
        shutil.copytree(copy / '2', copy / 'spare')
        damage(copy / '2' / name)
        with pytest.raises(DamagedError, match=f'checkpoint 2: {name}'):
            Checkpointer(copy).restore(2, make_tree())
        lines = []
        assert Checkpointer(copy, warn=lines.append).latest() == 1
        assert f'checkpoint 2: {name}' in lines[0]
        assert (copy / 'damaged.2').is_dir()
        shutil.rmtree(copy / 'damaged.2')
        (copy / 'spare').rename(copy / '2')
    assert Checkpointer(copy).latest() == 2


def test_digests_are_stated(copy):
    name = max(files_of(copy / '2' / 'arrays' / 'd'), key=lambda path: path.stat().st_size)
    want = commit.read_manifest(copy / '2').files[name.relative_to(copy / '2').as_posix()].sha256
    flip(name)
    with pytest.raises(DamagedError, match=rf'has digest [0-9a-f]{{64}}, expected {want}'):
        commit.verify(copy / '2')


def test_swapped_and_foreign_files_are_damage(copy):
    (copy / '2' / 'arrays' / 'extra').write_text('x')
    with pytest.raises(DamagedError, match='arrays/extra is not in the manifest'):
        commit.verify(copy / '2')
    shutil.rmtree(copy / '2')
    (copy / '1').rename(copy / '2')
    with pytest.raises(DamagedError, match='is that of step 1'):
        commit.verify(copy / '2')


def test_when_none_is_left_nothing_starts_anew_silently(copy):
    for step in (1, 2):
        truncate(copy / str(step) / 'manifest.json')
    for _ in range(2):
        with pytest.raises(UsageError, match=r'no valid checkpoint is left, only damaged\.1, damaged\.2; move them away'):
            Checkpointer(copy, warn=lambda line: None).latest()


def test_an_empty_or_missing_folder_has_no_checkpoint(tmp_path):
    checkpoints = Checkpointer(tmp_path / 'none')
    assert checkpoints.latest() is None
    assert checkpoints.best() is None
    with pytest.raises(UsageError, match=r'step=3: no such checkpoint in .*; there are: none'):
        checkpoints.restore(3, {})
    assert not (tmp_path / 'none').exists()


def test_an_unfinished_save_is_invisible_and_swept_by_the_next_writer_only(copy):
    (copy / 'tmp.9.abc').mkdir()
    reader = Checkpointer(copy)
    assert reader.latest() == 2
    assert (copy / 'tmp.9.abc').exists()
    reader.save(3, {'x': jnp.ones(2)}, {})
    reader.close()
    assert sorted(path.name for path in copy.iterdir()) == ['1', '2', '3'], 'step 1 is the best'


def test_a_failed_save_is_raised_by_the_next_call_and_leaves_the_older_ones(copy, monkeypatch):
    checkpoints = Checkpointer(copy)
    with monkeypatch.context() as patch:
        patch.setattr(commit.os, 'rename', lambda *_: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
        checkpoints.save(3, {'x': jnp.ones(4)}, {})
        with pytest.raises(UsageError, match=r'checkpoint 3 was not saved .*No space left.*about 16 bytes needed, [\d,]+ free'):
            checkpoints.latest()
    assert checkpoints.latest() == 2, 'an error is told once'
    assert not list(copy.glob('tmp.*'))
    checkpoints.save(3, {'x': jnp.ones(4)}, {})
    assert checkpoints.latest() == 3
    checkpoints.close()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='checkpoint 1 was not saved in'):
        Checkpointer(tmp_path / 'file').save(1, {'x': jnp.ones(1)}, {})


def test_a_committed_step_is_left_as_it_is(copy):
    before = {path: path.stat().st_mtime_ns for path in files_of(copy)}
    checkpoints = Checkpointer(copy)
    checkpoints.save(2, make_tree(5), {})
    checkpoints.close()
    assert {path: path.stat().st_mtime_ns for path in files_of(copy)} == before


def test_saving_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    may_seal, seal = threading.Event(), commit.seal
    monkeypatch.setattr(commit, 'seal', lambda folder: may_seal.wait(30) and seal(folder))
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, {'x': jnp.ones(4)}, {})
    assert not (tmp_path / '1').exists()
    may_seal.set()
    assert checkpoints.latest() == 1, 'whoever asks waits for the save in flight'
    checkpoints.close()


def test_order_on_disk(tmp_path, monkeypatch):
    """Every file is synced, then the folders, then one rename, then the parent."""
    events = []
    real_sync, real_rename, final = os.fsync, os.rename, tmp_path / 'c' / '1'
    monkeypatch.setattr(commit.os, 'fsync', lambda fd: (events.append(os.readlink(f'/proc/self/fd/{fd}')), real_sync(fd)))
    monkeypatch.setattr(commit.os, 'rename', lambda a, b: (events.append(f'rename {b}'), real_rename(a, b)))
    checkpoints = Checkpointer(tmp_path / 'c')
    checkpoints.save(1, {'x': jnp.ones(4)}, {})
    checkpoints.close()
    renamed = events.index(f'rename {final}')
    assert events[renamed + 1 :] == [str(tmp_path / 'c')]
    synced = [event.partition('/c/tmp.1.')[2].partition('/')[2] for event in events[:renamed]]
    files = {str(path.relative_to(final)) for path in files_of(final)}
    folders = {str(path.relative_to(final)) for path in final.rglob('*') if path.is_dir()}
    assert files | folders <= set(synced)
    last = {name: place for place, name in enumerate(synced)}  # Orbax syncs some folders on its own before
    assert max(last[file] for file in files) < min(last[folder] for folder in folders)
    assert synced[-1] == '', 'the checkpoint folder itself comes last'


def test_manifest_is_strict_json(saved):
    def refuse(name):
        raise AssertionError(name)

    json.loads((saved / '2' / 'manifest.json').read_text(), parse_constant=refuse)


def test_a_metric_that_is_no_number_is_none(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, {'x': jnp.ones(1)}, {}, float('nan'))
    assert checkpoints.manifest(1).metric is None
    checkpoints.close()


@pytest.mark.parametrize(
    ('tree', 'finite'),
    [
        ({'a': jnp.ones(3), 'n': jnp.arange(2)}, True),
        ({'a': jnp.ones(3), 'b': jnp.array([1.0, jnp.inf])}, False),
        ({'a': jnp.array(jnp.nan, jnp.bfloat16)}, False),
        ({'n': jnp.arange(2)}, True),
    ],
)
def test_all_finite(tree, finite):
    assert bool(jax.jit(all_finite)(tree)) is finite
