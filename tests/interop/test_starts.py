"""Runs on a tokenizer of someone else's, and from someone else's parameters."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import lmjax
from lmjax.config import UsageError
from lmjax.data import corpus as corpus_module
from lmjax.data.chat import chat_ids
from lmjax.data.corpus import prepare, start_preparing
from lmjax.data.tokenizers import expected_vocabulary, tokenizer_class
from lmjax.interop.huggingface import export_folder, import_tokenizer
from lmjax.interop.starts import check_start, check_words, given_tokenizer, start_params, with_vocabulary
from lmjax.interop.workdirs import import_workdir
from lmjax.models import build
from lmjax.training.metrics import read_metrics

LINES = [f'{i} times {i % 7} is {i * (i % 7)}.' for i in range(300)]
TALK = [{'role': 'user', 'content': '3 times 4'}]
TEMPLATE = '{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}'


@pytest.fixture
def folder(tmp_path):
    """A folder with nothing but a tokenizer, which was taught to chat."""
    import tokenizers

    made = tokenizer_class('bpe').train(LINES, LINES, 280).contents()['tokenizer.json']
    library = tokenizers.Tokenizer.from_str(made)
    library.add_special_tokens(['<s>', '<|im_start|>', '<|im_end|>'])
    (tmp_path / 'theirs').mkdir()
    (tmp_path / 'theirs' / 'tokenizer.json').write_text(library.to_str())
    described = {'bos_token': '<s>', 'eos_token': '<|im_end|>', 'chat_template': TEMPLATE}
    (tmp_path / 'theirs' / 'tokenizer_config.json').write_text(json.dumps(described))
    return tmp_path / 'theirs'


@pytest.fixture
def make(tmp_path):
    (tmp_path / 'text.jsonl').write_text('\n'.join(json.dumps({'text': line + ' <|im_start|>'}) for line in LINES))

    def make(tokenizer, steps=2, learning_rate=1e-2, **data):
        return lmjax.Config(
            data=lmjax.DataConfig(
                source=f'jsonl:{tmp_path}/text.jsonl#text',
                tokenizer=tokenizer,
                seq_len=16,
                cache_dir=str(tmp_path / 'cache'),
                **data,
            ),
            model=lmjax.TransformerConfig(width=8, depth=1, heads=2, ff_width=16, feed_forward='swiglu'),
            optim=lmjax.OptimConfig(schedule='constant', learning_rate=learning_rate),
            train=lmjax.TrainConfig(steps=steps, batch_size=4, eval_every=2),
            log=lmjax.LogConfig(tensorboard=False, report=False, prompts=()),
        )

    return make


def quiet(*args, **settings):
    """`lmjax.train` with what it says."""
    said = []
    return lmjax.train(*args, **settings, say=said.append), said


def test_a_run_keeps_the_tokenizer_that_it_was_given(folder, make, tmp_path):
    name, workdir = f'hf:{folder}', str(tmp_path / 'run')
    theirs = import_tokenizer(str(folder))

    def counted(tokenizer):  # the same way through a run, with nothing to compile
        return dataclasses.replace(make(tokenizer), model=lmjax.NgramConfig(order=2))

    quiet(counted(name), workdir)
    shutil.rmtree(folder)  # it is never needed again
    run = lmjax.load(workdir)
    assert run.tokenizer.contents() == theirs.contents()
    assert run.config.data.tokenizer == name
    assert run.config.data.vocab_size == run.model.vocab_size == 283
    assert run.chat_ids(TALK).tolist() == chat_ids(theirs, TALK).tolist()
    assert run.evaluate()['loss_nats'] == read_metrics(workdir, 'valid')[-1]['loss_nats']
    assert quiet(counted(name), workdir)[0]['status'] == 'complete'
    with pytest.raises(UsageError, match=r"data\.tokenizer='hf:x': the run in .* has 'hf:.*theirs'"):
        quiet(counted('hf:x'), workdir)


def test_parameters_come_from_a_checkpoint_of_the_same_words(folder, make, tmp_path):
    out, tokenizer = f'hf:{tmp_path}/out', import_tokenizer(str(folder))
    config = make(out)
    model = build(config.model, vocab_size=tokenizer.vocab_size, seq_len=16)
    params = jax.jit(model.init)(jax.random.key(0), {})
    export_folder(config, params, tokenizer, out.removeprefix('hf:'))
    exported = given_tokenizer(config.data)
    assert (exported.chat, exported.end_ids) == (tokenizer.chat, tokenizer.end_ids)
    reference = pytest.importorskip('transformers').PreTrainedTokenizerFast.from_pretrained(out.removeprefix('hf:'))
    found = reference.apply_chat_template(TALK, add_generation_prompt=True, return_dict=False)
    assert found == chat_ids(exported, TALK).tolist()

    said = []
    found = start_params(out, config, exported, model, say=said.append)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert said == [f'starts from the parameters of {out}']
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, rotary_base=500.0, dropout=0.5))
    start_params(out, other, exported, model, say=said.append)
    assert said[1] == f'note: model.rotary_base=500.0 here and 10000.0 in {out}'
    wide = build(dataclasses.replace(config.model, ff_width=24), vocab_size=283, seq_len=16)
    with pytest.raises(UsageError, match=r"--init_from='hf:.*' does not fit: layers/0/.* stored .* wanted float32\[24,8\]"):
        start_params(out, config, exported, wide, say=said.append)


def test_a_role_may_be_added_on_a_row_that_a_checkpoint_does_not_use(folder, make, tmp_path):
    (folder / 'config.json').write_text('{"vocab_size": 300, "eos_token_id": 0}')
    plain, out = import_tokenizer(str(folder)), f'hf:{tmp_path}/out'
    config = make(out, specials=('separator',))
    model = build(config.model, vocab_size=300, seq_len=16)
    params = jax.jit(model.init)(jax.random.key(0), {})
    export_folder(config, params, plain, out.removeprefix('hf:'))
    for tokenizer in (out, 'library'):
        data = dataclasses.replace(config.data, tokenizer=tokenizer)
        given = given_tokenizer(data, init_from=out)
        assert given.specials == {'separator': 283}
        found = start_params(out, dataclasses.replace(config, data=data), given, model, say=list)
        jax.tree.map(np.testing.assert_array_equal, found, params)


@pytest.mark.slow
def test_a_run_goes_on_elsewhere(folder, make, tmp_path):
    name, workdir, out = f'hf:{folder}', str(tmp_path / 'run'), str(tmp_path / 'out')
    outcome, _ = quiet(make(name), workdir)
    shutil.rmtree(folder)
    assert lmjax.load(workdir).evaluate()['loss_nats'] == pytest.approx(outcome['loss_nats'], rel=1e-6)
    _, said = quiet(make(name, steps=3), workdir, extend=True)
    assert 'resumes at step 2' in said
    run = lmjax.load(workdir)
    assert run.chat(TALK, max_new_tokens=2, greedy=True) == run.generate(run.chat_ids(TALK), max_new_tokens=2, greedy=True)[0]
    export_folder(run.config, run.params, run.tokenizer, out)
    import_workdir(f'hf:{out}', str(tmp_path / 'converted'))
    loss = read_metrics(workdir, 'valid')[-1]['loss_nats']
    for start, tokenizer in ((f'hf:{out}', f'hf:{out}'), (str(tmp_path / 'converted'), 'library'), (workdir, 'library')):
        again, said = quiet(make(tokenizer, learning_rate=1e-9), f'{tmp_path}/from {len(start)}', init_from=start)
        assert f'starts from the parameters of {start}' in said
        assert not [line for line in said if line.startswith('note: ')]
        assert again['loss_nats'] == pytest.approx(loss, rel=1e-5)
    assert lmjax.load(f'{tmp_path}/from {len(workdir)}').evaluate()['loss_nats'] == pytest.approx(loss, rel=1e-5)


def test_text_that_spells_a_special_token_is_that_token(folder, make):
    """As transformers reads text; each document ends with the token that ends a text."""
    config = make(f'hf:{folder}')
    given = given_tokenizer(config.data)
    store = prepare(config.data, tokenizer=given).train
    start, end = 281, 282
    assert np.count_nonzero(store.tokens == start) == len(store.doc_offsets) - 1 == np.count_nonzero(store.tokens == end) - 1
    assert given.decode(store.tokens[:40]).startswith('0 times 0 is 0.')


def test_preparing_in_a_process_of_its_own_takes_the_tokenizer_along(folder, make, monkeypatch):
    config = make(f'hf:{folder}')
    given = given_tokenizer(config.data)
    shutil.rmtree(folder)
    with start_preparing(config.data, given) as process:
        assert process.wait(timeout=60) == 0
    monkeypatch.setattr(corpus_module, 'build_corpus', lambda *args: pytest.fail('built again'))
    assert prepare(config.data, tokenizer=given).tokenizer is given


def test_roles_that_a_tokenizer_lacks_are_added_to_it(folder, make):
    plain = given_tokenizer(make(f'hf:{folder}').data)
    data = make(f'hf:{folder}', specials=('mask', 'class')).data
    given = given_tokenizer(data)
    assert given.specials == {'mask': 283, 'class': 284}
    assert given.encode_marked('3 <mask>').tolist() == [*plain.encode('3 '), 283]
    assert (given.chat, given.end_ids) == (plain.chat, plain.end_ids)
    config = with_vocabulary(lmjax.Config(data=data), given)
    assert expected_vocabulary(config.data) == given.vocab_size == 285
    assert given.with_roles(('class',)) is given
    (folder / 'config.json').write_text('{"vocab_size": 300, "eos_token_id": 0}')
    padded = given_tokenizer(data)
    assert (padded.vocab_size, padded.specials, padded.end_ids) == (300, {'mask': 283, 'class': 284}, (0,))


def test_what_does_not_agree_is_one_clear_line(folder, make, tmp_path):
    name = f'hf:{folder}'
    plain = given_tokenizer(make(name).data)
    bpe = tokenizer_class('bpe').train(LINES, LINES, 283)
    bpe.save(tmp_path / 'bpe' / 'tokenizer')
    refused = {
        r'hf:/no/such: no such folder; name a folder with config\.json and': lambda: given_tokenizer(make('hf:/no/such').data),
        r"data\.tokenizer='zip': no such choice": lambda: given_tokenizer(make('zip:x').data),
        r"data\.tokenizer='library': is the tokenizer of --init_from; give that": lambda: given_tokenizer(make('library').data),
        r'data\.vocab_size=9: the tokenizer hf:.* has 283 tokens; use 0': lambda: given_tokenizer(
            make(name, vocab_size=9).data
        ),
        r"data\.specials=\('mask',\): the tokenizer library has no 'mask'; leave it out": lambda: given_tokenizer(
            make('library', specials=('mask',)).data, init_from=str(tmp_path / 'bpe')
        ),
        r"data\.tokenizer='char': its words are not those of hf:.*; use --config\.data\.tokenizer=hf:": lambda: check_start(
            name, make('char').data
        ),
        r"--init_from='nowhere': holds no checkpoints; name the --workdir of another run, or hf:DIR": lambda: check_start(
            'nowhere', make('char').data
        ),
        r"--init_from='w': has another tokenizer than this run, and its parameters": lambda: check_words('w', plain, bpe, 283),
        r"--init_from='w': tokens=300: the run has 283; use its tokenizer": lambda: check_words('w', plain, None, 300),
        r"data\.tokenizer='library': comes with a checkpoint and is not trained": lambda: prepare(make(name).data),
    }
    for match, call in refused.items():
        with pytest.raises(UsageError, match=match) as error:
            call()
        assert '\n' not in str(error.value)
    check_words('w', plain, None, 283)
    check_words('w', plain, import_tokenizer(str(folder)), 283)
    check_start('', make('char').data)
    assert given_tokenizer(make('library').data, init_from=str(tmp_path / 'bpe')).digest == bpe.digest
    assert given_tokenizer(make('bpe').data, init_from=name) is None
    config = dataclasses.replace(make('byte'), model=lmjax.NgramConfig(order=2))
    quiet(config, str(tmp_path / 'counts'))
    with pytest.raises(UsageError, match=r"model\.kind='ngram': counts from nothing; leave out --init_from"):
        quiet(config, str(tmp_path / 'more'), init_from=str(tmp_path / 'counts'))
