"""The report: everything of the run is on the page, nothing of it can act there, and nothing is fetched."""

import html.parser
import json
import math
import re

import numpy as np
import pytest

from lmjax.config import UsageError, to_dict
from lmjax.training.config import Config
from lmjax.training.figures import Curve, draw, running_mean
from lmjax.training.metrics import MetricsLog
from lmjax.training.report import render, write_report
from lmjax.training.report_parts import flat, safe

EVIL = '<script>alert(1)</script>"\' $x$ &amp;\x00'
VOID = {'meta', 'path', 'use', 'line', 'rect'}


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and text, and checks that elements are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.text = [], [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self._note(attributes)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self._note(attributes)

    def _note(self, attributes):
        for name, value in attributes:
            assert not name.startswith('on')
            if name == 'id':
                self.ids.append(value)
            if name in ('href', 'xlink:href', 'src'):
                self.links.append(value)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    (folder / 'config.json').write_text(json.dumps(to_dict(Config(name=EVIL))))
    with MetricsLog(folder, tensorboard=False) as log:
        for step in range(10, 110, 10):
            loss = math.nan if step == 50 else 5 - step / 50
            train = {'loss_nats': loss, 'learning_rate': 1e-3 / step, 'tokens_per_second': 1e4 + step}
            log.write({'step': step, 'split': 'train', **train})
        for step in (50, 100):
            log.write(
                {'step': step, 'split': 'valid', 'loss_nats': 4.5, 'perplexity': 90.017, 'bits_per_byte': 2.125 + step / 1000}
            )
        log.event(50, 'config_changed', changed={'log.prompts': EVIL})
    facts = {
        'parameter_count': 1234567,
        'flops_per_token': 2e6,
        'flops_total': 5e12,
        'flops_formula': 'three times the forward pass',
        'tokens_trained': 2_500_000,
        'tokens_per_second': 10_000.0,
        'corpus': {'digest': 'd1ce', 'counts': {'dropped': 17}},
        'compressors': {'gzip -9': 1.93, f'xz {EVIL}': 1.59},
        'environment': {'jax': '9.9.9', 'device_kind': EVIL, 'device_count': 4, 'cpu': 'abacus'},
    }
    (folder / 'run.json').write_text(json.dumps(facts))
    (folder / 'samples.txt').write_bytes(f'--- sample 1 of {EVIL!r}\nfirst {EVIL}\n--- sample 2\nsecond '.encode() + b'\xff\n')
    return folder


@pytest.fixture(scope='module')
def page(workdir):
    return write_report(workdir).read_text(encoding='utf-8')


@pytest.fixture(scope='module')
def read(page):
    return Reader(page)


def test_nothing_of_the_run_is_live(page, read):
    assert 'script' not in read.tags
    assert page.count('&lt;script&gt;alert(1)&lt;/script&gt;') >= 6, 'name, config, event, samples, device, compressor'
    assert '\x00' not in page
    assert "default-src 'none'" in page


def test_nothing_is_fetched(page, read):
    assert all(link.startswith('#') for link in read.links)
    assert {link[1:] for link in read.links} <= set(read.ids)
    assert not re.search(r'url\((?!#)|@import|<link|<img', page)


def test_ids_are_unique_over_all_pictures(read):
    assert read.tags.count('svg') == 4
    assert len(read.ids) == len(set(read.ids))


def test_pictures_take_the_colours_of_the_page(page):
    pictures = ''.join(re.findall(r'<svg.*?</svg>', page, re.DOTALL))
    assert not re.findall(r'(?:fill|stroke): #[0-9a-f]+', pictures)
    assert {'var(--first)', 'var(--second)', 'var(--ink)'} <= set(re.findall(r'var\(--\w+\)', pictures))
    assert 'font-family' not in pictures


def test_what_the_page_must_hold(read):
    text = ' '.join(' '.join(read.text).split())
    for phrase in [
        '1,234,567', '1.23M', '10k', '20 GFLOP/s', '5T', 'three times the forward pass', '2,500,000',
        'gzip -9 1.93', '2.225', '4.5000', '90.017', 'd1ce', 'counts.dropped 17', '9.9.9', '4 ×', 'abacus', '100 steps',
        'sample 2', 'second \ufffd', 'config.optim', 'learning_rate', 'config changed', 'loss (nats a token)',
        'validation bits per byte', 'throughput', 'first <script>alert(1)</script>"\' $x$ &amp;\u2400',
    ]:  # fmt: skip
        assert phrase in text, phrase


def test_a_run_without_facts_or_records_still_has_a_page(tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps(to_dict(Config(name='young'))))
    text = ' '.join(Reader(write_report(tmp_path).read_text()).text)
    assert 'young' in text
    assert 'not trained yet' in text
    assert 'Curves' not in text
    assert 'None' not in text


def test_a_folder_without_a_run_or_with_broken_facts_is_refused(tmp_path):
    with pytest.raises(UsageError, match='holds no run'):
        write_report(tmp_path)
    (tmp_path / 'config.json').write_text('{}')
    (tmp_path / 'run.json').write_text('{')
    with pytest.raises(UsageError, match=r'run\.json: is not JSON'):
        write_report(tmp_path)


def test_of_many_evaluations_some_are_shown_and_the_last_is(workdir):
    records = [{'step': step, 'split': 'valid', 'loss_nats': 1.0} for step in range(1, 101)]
    rows = re.findall(r'<tr><td>(\d+)</td>', render({}, {}, records, samples=''))
    assert len(rows) == 12
    assert rows[-1] == '100'


def page_of_classes(classes, confusion, **facts):
    earlier = {'step': 1, 'split': 'valid', 'loss_nats': 1.0, 'accuracy': 0.5, 'confusion': [[7] * len(classes)] * len(classes)}
    last = {**earlier, 'step': 2, 'confusion': confusion, 'accuracy': 0.25}
    config = {'name': 'x', 'objective': {'classes': classes}}
    return ''.join(f'{text} ' for text in Reader(render(config, facts, [earlier, last], samples='')).text)


def test_the_confusion_of_classes_is_that_of_the_outcome():
    assert 'label \\ told as no yes no 31 4 yes 5 60' in page_of_classes(['no', 'yes'], [[31, 4], [5, 60]])
    assert 'no 7 7 yes 7 7' in page_of_classes(['no', 'yes'], [[31, 4], [5, 60]], outcome_step=1)
    assert 'told as' not in page_of_classes([], [])


def test_of_many_classes_the_most_frequent_errors_are_shown():
    confusion = np.diag(np.full(20, 9))
    confusion[3, 4], confusion[7, 0] = 5, 2
    text = page_of_classes([f'c{i}' for i in range(20)], confusion.tolist())
    assert 'label told as texts c3 c4 5 c7 c0 2 ' in text
    assert 'c19' not in text.partition('objective')[0]


def test_a_picture_is_the_same_every_time():
    curve = Curve('a', [1, 2, 3], [1.0, 2.0, 1.5])
    assert draw('x', [curve], label='y') == draw('x', [curve], label='y')


def test_a_picture_needs_two_finite_values():
    assert draw('x', [Curve('a', [1, 2, 3], [1.0, math.nan, math.inf])], label='y') == ''
    assert draw('x', [], label='y') == ''


def test_running_mean_shifts_nothing():
    ramp = np.arange(200.0)
    np.testing.assert_allclose(running_mean(ramp), ramp, atol=1e-9)
    noise = np.tile([1.0, -1.0], 100)
    assert np.abs(running_mean(noise)[20:-20]).max() < 0.2
    np.testing.assert_array_equal(running_mean([3.0]), [3.0])


def test_safe_and_flat():
    assert safe('a<b>\x1b\n\t"') == 'a&lt;b&gt;\u241b\n\t&quot;'
    assert flat({'class': 'x', 'a': {'class': 'y', 'b': 1}, 'c': None}) == {'a.b': 1, 'c': None}
    assert flat(None) == {}


def test_calibration_and_the_worst_errors():
    bins = [[3, 0.55, 1 / 3], [7, 0.95, 0.9]]
    valid = {'step': 2, 'split': 'valid', 'loss_nats': 1.0, 'accuracy': 0.5, 'calibration': bins}
    errors = [
        {'text': 'so <bad>', 'label': '0', 'told': '1', 'loss_nats': 4.25},
        {'text': 'x', 'label': ['a'], 'told': [], 'loss_nats': 1.0},
    ]
    page = render({'name': 'x'}, {'errors': errors}, [valid], samples='')
    assert page.count('<svg') == 1
    assert 'probability of what is told' in page
    cells = re.findall(r'<td>(.*?)</td>', page)
    assert cells[cells.index('0.550') - 1 :][:6] == ['3', '0.550', '0.333', '7', '0.950', '0.900']
    assert cells[cells.index('so &lt;bad&gt;') :][:4] == ['so &lt;bad&gt;', '0', '1', '4.250']
    plain = render({'name': 'x'}, {}, [{**valid, 'calibration': []}], samples='')
    assert 'Worst errors' not in plain
    assert 'Calibration' not in plain
