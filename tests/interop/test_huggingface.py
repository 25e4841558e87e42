"""Folders in Hugging Face's format without transformers: round trips of our own, and what is refused."""

import json
import shutil

import jax
import numpy as np
import pytest

import lmjax
from lmjax.config import UsageError
from lmjax.data.special_tokens import end_id, start_id, with_specials
from lmjax.data.tokenizers import tokenizer_class
from lmjax.interop import huggingface
from lmjax.interop.formats import FORMATS, canonical, identify
from lmjax.interop.huggingface import export_folder, import_folder
from lmjax.interop.tensors import TensorFolder, write_tensors
from lmjax.interop.workdirs import import_workdir
from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.models.families import FAMILIES

LLAMA = TransformerConfig(width=16, depth=2, heads=4, kv_heads=2, ff_width=24, feed_forward='swiglu', tied=False, context=64)
TEXT = 'the cat sat on the mat and the dog sat on the log\n' * 30


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A network and a tokenizer of ours, and the folder that they were exported to."""
    tokenizer = tokenizer_class('bpe').train([TEXT], [TEXT], 266)
    config = lmjax.Config(model=LLAMA, data=lmjax.DataConfig(tokenizer='bpe', seq_len=64))
    model = build(LLAMA, vocab_size=tokenizer.vocab_size, seq_len=64)
    params = jax.jit(model.init)(jax.random.key(0), {'init_scale': 10.0})
    folder = tmp_path_factory.mktemp('exported') / 'llama'
    assert export_folder(config, params, tokenizer, str(folder)) == 'llama'
    return config, model, params, tokenizer, folder


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_an_export_loads_as_what_it_was(made):
    config, model, params, tokenizer, folder = made
    run = lmjax.load(f'hf:{folder}')
    same(run.params, params)
    assert canonical(run.config.model) == canonical(config.model)
    assert run.context == 64
    ids = tokenizer.encode(TEXT[:80])
    assert run.tokenizer.encode(TEXT[:80]).tolist() == ids.tolist()
    assert run.tokenizer.decode(ids) == TEXT[:80]
    np.testing.assert_array_equal(run.tokenizer.byte_lengths, tokenizer.byte_lengths)
    ours = lmjax.Run('w', config, model, params, tokenizer)
    np.testing.assert_array_equal(run.logits(ids), ours.logits(ids))
    assert run.generate('the cat', max_new_tokens=9, greedy=True) == ours.generate('the cat', max_new_tokens=9, greedy=True)
    assert run.evaluate(TEXT)['bits_per_byte'] == pytest.approx(ours.evaluate(TEXT)['bits_per_byte'], rel=1e-6)


def test_a_workdir_is_made_of_it_whole_or_not_at_all(made, tmp_path):
    *_, params, _, folder = made
    config, count = import_workdir(f'hf:{folder}', str(tmp_path / 'w'), scan_layers=True)
    assert count == sum(leaf.size for leaf in jax.tree.leaves(params))
    run = lmjax.load(str(tmp_path / 'w'))
    assert run.config == config
    assert run.config.model.scan_layers
    np.testing.assert_allclose(run.logits([1, 2, 3]), lmjax.load(f'hf:{folder}').logits([1, 2, 3]), atol=1e-5)
    assert export_folder(run.config, run.params, run.tokenizer, str(tmp_path / 'again')) == 'llama'
    same(import_folder(str(tmp_path / 'again')).params, params)
    with pytest.raises(UsageError, match='exists and is not an empty folder; name another, nothing is overwritten'):
        import_workdir(f'hf:{folder}', str(tmp_path / 'w'))
    with pytest.raises(UsageError, match=r'config\.json: missing'):
        import_workdir(f'hf:{tmp_path / "w" / "checkpoints"}', str(tmp_path / 'other'))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['again', 'w']


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_a_narrow_checkpoint_comes_back_bit_for_bit(made, tmp_path, dtype):
    config, _, params, tokenizer, _ = made
    export_folder(config, params, tokenizer, str(tmp_path / 'one'), dtype=dtype)
    again = import_folder(str(tmp_path / 'one'))
    export_folder(again.config, again.params, again.tokenizer, str(tmp_path / 'two'), dtype=dtype)
    one, two = TensorFolder(str(tmp_path / 'one')), TensorFolder(str(tmp_path / 'two'))
    for name in one.index:
        assert one.read(name).tobytes() == two.read(name).tobytes()
        assert one.read(name).dtype == np.dtype(dtype)


def edit(folder, target, **changes):
    """A copy of a folder with fields of its config.json changed; None removes one."""
    shutil.copytree(folder, target)
    path = target / 'config.json'
    described = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in described.items() if value is not None}))
    return str(target)


REFUSED = {
    'unknown family': ({'model_type': 'mamba'}, r"model_type='mamba': no such choice; choose one of: gpt2, gpt_neox, llama"),
    'no width': ({'hidden_size': None}, 'has no hidden_size'),
    'width as text': ({'hidden_size': 'wide'}, r"a field is missing or of the wrong type \(width='wide': expected int\)"),
    'no heads': ({'num_attention_heads': 0}, r'model\.heads=0: must be at least 1'),
    'scaling': ({'rope_scaling': {'rope_type': 'yarn', 'factor': 2.0}}, "rope_type='yarn': only default, linear and llama3"),
    'activation': ({'hidden_act': 'quick_gelu'}, "hidden_act='quick_gelu': no such choice; choose one of: silu, gelu"),
    'half of the biases': ({'attention_bias': True}, 'mlp_bias=False: only equal to attention_bias is known here'),
    'more layers': ({'num_hidden_layers': 3}, r'model\.layers\.2\..* and 6 more are missing; fetch the whole checkpoint'),
    'fewer layers': ({'num_hidden_layers': 1}, r'model\.layers\.1\..* and 6 more are left over'),
    'wider': ({'intermediate_size': 25}, r'gate_proj\.weight has shape \(24, 16\), where its config\.json asks for \(25, 16\)'),
    'smaller vocabulary': ({'vocab_size': 200}, r'tokenizer\.json: has 266 tokens and the network 200; .* belong together'),
    'larger vocabulary': ({'vocab_size': 300}, r'embed_tokens\.weight has shape \(266, 16\), .* asks for \(300, 16\)'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_a_config_that_does_not_fit_is_one_clear_line(made, tmp_path, name):
    changes, message = REFUSED[name]
    with pytest.raises(UsageError, match=message) as error:
        import_folder(edit(made[-1], tmp_path / 'edited', **changes))
    assert '\n' not in str(error.value)


def test_tensors_that_do_not_fit_are_one_clear_line(made, tmp_path):
    folder = made[-1]
    tensors = TensorFolder(str(folder))
    whole = {name: tensors.read(name) for name in tensors.index}

    def refused(match, **changes):
        target = tmp_path / 'edited'
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder, target)
        found = {name: value for name, value in {**whole, **changes}.items() if value is not None}
        write_tensors(str(target), {name: value.nbytes for name, value in found.items()}, iter(found.items()))
        with pytest.raises(UsageError, match=match) as error:
            import_folder(str(target))
        assert '\n' not in str(error.value)

    refused(r'model\.norm\.weight is missing; fetch the whole checkpoint', **{'model.norm.weight': None})
    refused('adapter is left over; LlamaForCausalLM with this config.json has no such tensor', adapter=np.zeros(1, np.float32))
    refused(r'norm\.weight is of type I8; only F64, F32', **{'model.norm.weight': np.zeros(16, np.int8)})
    refused(
        r'has shape \(16, 266\), where its config.json asks for \(266, 16\)',
        **{'lm_head.weight': np.zeros((16, 266), np.float32)},
    )


def test_buffers_and_the_copy_of_a_tied_head_are_passed_over(tmp_path):
    config = lmjax.Config(model=FAMILIES['gpt2-tiny'].model, data=lmjax.DataConfig(seq_len=32))
    model = build(config.model, vocab_size=30, seq_len=32)
    params = jax.jit(model.init)(jax.random.key(0), {})
    export_folder(config, params, None, str(tmp_path / 'gpt2'))
    tensors = TensorFolder(str(tmp_path / 'gpt2'))
    whole = {name.removeprefix('transformer.'): tensors.read(name) for name in tensors.index}  # as the Hub's gpt2 has them
    whole |= {'lm_head.weight': whole['wte.weight'], 'h.0.attn.bias': np.ones((1, 1, 4, 4), np.float32)}
    write_tensors(str(tmp_path / 'gpt2'), {name: value.nbytes for name, value in whole.items()}, iter(whole.items()))
    run = lmjax.load(f'hf:{tmp_path / "gpt2"}')
    same(run.params, params)
    for call in (run.generate, run.evaluate):
        with pytest.raises(UsageError, match=r'has no tokenizer\.json, so only `logits` of ids can be had'):
            call('a')


@pytest.mark.parametrize('name', [name for name in FAMILIES if name.endswith('-tiny') and not name.startswith('seq2seq_2017')])
def test_every_family_of_the_table_is_one_that_can_be_exported(name):
    """And read back as the same network; each as its own model_type where two could say it."""
    config = FAMILIES[name].model
    config = TransformerConfig(**{**vars(config), 'context': 256})
    kinds = {'pythia': 'gpt_neox', 'llama3': 'llama', 'smollm2': 'llama', 'qwen2.5': 'qwen2', 't5-v1.1': 't5'}
    kind = name.removesuffix('-tiny')
    assert identify(config) == kinds.get(kind, kind)
    form = FORMATS[identify(config)]
    assert canonical(form.read({'model_type': kind, **json.loads(json.dumps(form.write(config)))})) == canonical(config)


def test_a_network_that_no_family_says_is_refused_by_field(tmp_path):
    data = lmjax.DataConfig(seq_len=8)
    for model, message in (
        (TransformerConfig(position='alibi'), r"model\.position='alibi'.*: no family of transformers has this; the closest"),
        (TransformerConfig(feed_forward='two_relu'), r"model\.feed_forward='two_relu': no family"),
        (RecurrentConfig(), r"model\.kind='recurrent': transformers has no such network"),
    ):
        with pytest.raises(UsageError, match=message):
            export_folder(lmjax.Config(model=model, data=data), {}, None, str(tmp_path / 'x'))
    with pytest.raises(UsageError, match="--dtype='int8': choose one of: float32, bfloat16, float16"):
        export_folder(lmjax.Config(model=LLAMA, data=data), {}, None, str(tmp_path / 'x'), dtype='int8')
    assert not (tmp_path / 'x').exists()


def test_what_is_neither_a_folder_nor_to_be_had(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    with pytest.raises(UsageError, match=r'hf:/no/where: no such folder; name a folder with config\.json'):
        import_folder('/no/where')
    asked = []

    def offline(name, *, allow_patterns, local_files_only=False):
        asked.append(local_files_only)
        raise LocalEntryNotFoundError('no network\nat all')

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', offline)
    with pytest.raises(
        UsageError, match=r'hf:gpt2: neither a folder, nor in the cache, nor to be had .*\(no network\)'
    ) as error:
        import_folder('gpt2')
    assert asked == [True, False]  # the cache first
    assert '\n' not in str(error.value)
    assert all('bin' not in pattern for pattern in huggingface.FILES)


def test_an_imported_checkpoint_has_no_steps(made):
    with pytest.raises(UsageError, match=r'step=3: hf:.* is one checkpoint and has no steps; leave it out'):
        lmjax.load(f'hf:{made[-1]}', step=3)


def test_a_masked_language_model_takes_its_mask_along(made, tmp_path):
    tokenizer = with_specials(made[3], ('mask', 'class'))
    config = lmjax.Config(model=FAMILIES['bert-tiny'].model, data=lmjax.DataConfig(tokenizer='bpe', seq_len=64))
    model = build(config.model, vocab_size=tokenizer.vocab_size, seq_len=64)
    params = jax.jit(model.init)(jax.random.key(0), {'init_scale': 10.0})
    assert export_folder(config, params, tokenizer, str(tmp_path / 'one')) == 'bert'
    run = lmjax.load(f'hf:{tmp_path / "one"}')
    same(run.params, params)
    assert run.tokenizer.specials == tokenizer.specials
    assert run.fill('the <mask> sat') == lmjax.Run('w', config, model, params, tokenizer).fill('the <mask> sat')
    export_folder(run.config, run.params, run.tokenizer, str(tmp_path / 'two'))
    for name in ('tokenizer.json', 'tokenizer_config.json', 'config.json'):
        assert (tmp_path / 'one' / name).read_text() == (tmp_path / 'two' / name).read_text(), name
    spoiled = tokenizer_class('bpe').train([TEXT], [TEXT], 266)
    spoiled.specials = {'mask': 3}  # a token of its own stands there
    with pytest.raises(UsageError, match=r"data\.specials=\('mask',\): the text has a token '<mask>' of its own"):
        export_folder(config, params, spoiled, str(tmp_path / 'three'))


def test_a_tokenizer_for_encoder_decoders_takes_its_roles_along(made, tmp_path):
    """Sentinels are found by their names, the start in config.json, the end among the ends."""
    tokenizer = with_specials(made[3], ('end', 'separator', 'sentinel_0', 'sentinel_1'))
    shapes = jax.eval_shape(build(LLAMA, vocab_size=tokenizer.vocab_size, seq_len=64).init, jax.random.key(0), {})
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    export_folder(made[0], params, tokenizer, str(tmp_path / 'one'))
    run = lmjax.load(f'hf:{tmp_path / "one"}')
    kept = ('separator', 'sentinel_0', 'sentinel_1')
    assert run.tokenizer.specials == {'start': tokenizer.separator_id} | {role: tokenizer.specials[role] for role in kept}
    for one in (start_id, end_id, lambda found: found.end_ids, lambda found: found.encode('the cat').tolist()):
        assert one(run.tokenizer) == one(tokenizer)
    export_folder(run.config, run.params, run.tokenizer, str(tmp_path / 'two'))
    for name in ('tokenizer.json', 'tokenizer_config.json', 'config.json'):
        assert (tmp_path / 'one' / name).read_text() == (tmp_path / 'two' / name).read_text(), name
    assert 'decoder_start_token_id' not in (made[-1] / 'config.json').read_text()
