"""metrics.jsonl: strict JSON, append-only, whole after any crash; TensorBoard holds the same numbers."""

import json
import math
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.training.metrics import MetricsLog, read_metrics


def lines(workdir):
    return (workdir / 'metrics.jsonl').read_text().splitlines()


def strict(line):
    def refuse(name):
        raise AssertionError(f'{name} is not JSON')

    return json.loads(line, parse_constant=refuse)


def test_records_are_on_disk_at_once_and_strict_json(tmp_path):
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write({'step': 1, 'split': 'train', 'loss_nats': jnp.float32(0.5), 'tokens': np.int64(2**40), 'bits_per_byte': None})
    odd = {'bound': np.float32(-np.inf), 'per_layer': np.array([1.0, np.inf]), 'changed': {'steps': (1, math.inf)}}
    log.write({'step': jnp.int32(2), 'split': 'valid', 'loss_nats': math.nan, **odd})
    records = [strict(line) for line in lines(tmp_path)]  # before it is closed
    log.close()
    log.close()
    assert records[0] == {'step': 1, 'split': 'train', 'loss_nats': 0.5, 'tokens': 2**40, 'bits_per_byte': None}
    assert records[1]['loss_nats'] == 'NaN'
    assert records[1]['changed'] == {'steps': [1, 'Infinity']}
    read = read_metrics(tmp_path, 'valid')
    assert len(read) == 1
    assert math.isnan(read[0]['loss_nats'])
    assert read[0]['bound'] == -math.inf


def test_the_last_record_of_a_step_and_split_counts(tmp_path):
    with MetricsLog(tmp_path, tensorboard=False) as log:
        for step in (10, 20, 30):
            log.write({'step': step, 'split': 'train', 'loss_nats': step})
        log.write({'step': 20, 'split': 'valid', 'loss_nats': 0})
    with MetricsLog(tmp_path, tensorboard=False, start=10) as log:
        log.event(10, 'resumed')
        log.event(10, 'steps grew', old=30, new=60)
        log.write({'step': 20, 'split': 'train', 'loss_nats': -20})
    assert len(lines(tmp_path)) == 7, 'nothing is ever dropped'
    assert [(r['step'], r['loss_nats']) for r in read_metrics(tmp_path, 'train')] == [(10, 10), (20, -20), (30, 30)]
    assert [r['event'] for r in read_metrics(tmp_path, 'event')] == ['resumed', 'steps grew']
    assert [r['step'] for r in read_metrics(tmp_path)] == [10, 10, 10, 20, 20, 30]


@pytest.mark.parametrize(
    'cut', [b'{"step": 2, "split": "tr', b'{"step": 2, "split": "train", "x": 3', b'\0\0\0\0', b'\xff\xfe']
)
def test_a_line_cut_by_a_crash_is_removed_and_recorded(tmp_path, cut):
    path = tmp_path / 'metrics.jsonl'
    whole = b'{"step": 1, "split": "train", "loss_nats": 1.5}\n'
    path.write_bytes(whole + cut)
    assert [r['step'] for r in read_metrics(tmp_path)] == [1], 'a reader beside the run does not mind'
    with MetricsLog(tmp_path, tensorboard=False, start=1) as log:
        log.write({'step': 2, 'split': 'train', 'loss_nats': 1.0})
    assert path.read_bytes().startswith(whole + b'{"step": 1, "split": "event"')
    assert [strict(line)['step'] for line in lines(tmp_path)] == [1, 1, 2]


def test_a_whole_record_that_lacks_its_newline_is_kept(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "split": "train", "loss_nats": 1.5}')
    MetricsLog(tmp_path, tensorboard=False).close()
    assert read_metrics(tmp_path) == [{'step': 1, 'split': 'train', 'loss_nats': 1.5}]


def test_rubbish_in_the_middle_is_named(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "split": "train"}\n{"st\n{"step": 2, "split": "train"}\n')
    with pytest.raises(UsageError, match=r'metrics\.jsonl: line 2 is not a record'):
        read_metrics(tmp_path)
    assert read_metrics(tmp_path / 'none') == [], 'a run that has not begun has no records'


def test_tensorboard_has_the_same_numbers_and_hides_what_is_repeated(tmp_path, monkeypatch):
    import tensorboardX

    seen, workers = [], []

    class Writer(tensorboardX.SummaryWriter):
        def __init__(self, folder, purge_step):
            seen.append(purge_step)
            workers.append(threading.current_thread())
            super().__init__(folder, purge_step=purge_step)

        def add_scalar(self, *args):
            seen.append(args)
            super().add_scalar(*args)

    monkeypatch.setattr(tensorboardX, 'SummaryWriter', Writer)
    with MetricsLog(tmp_path, start=4) as log:
        log.event(4, 'resumed')
        assert not seen
        log.write({'step': 5, 'split': 'valid', 'loss_nats': jnp.float32(0.5), 'note': 'text', 'bits_per_byte': None})
    assert seen == [4, ('valid/loss_nats', 0.5, 5)]
    assert workers[0] is not threading.current_thread()
    events = list((tmp_path / 'tensorboard').glob('events.out.tfevents.*'))
    assert b'valid/loss_nats' in events[0].read_bytes()


def test_failing_tensorboard_does_not_end_the_run(tmp_path, capfd):
    (tmp_path / 'tensorboard').write_text('in the way')
    with MetricsLog(tmp_path) as log:
        log.write({'step': 1, 'split': 'train', 'loss_nats': 1.0})
    assert 'warning: no further TensorBoard events' in capfd.readouterr().err
    assert len(read_metrics(tmp_path)) == 1
