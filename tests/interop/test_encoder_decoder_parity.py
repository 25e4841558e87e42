"""Every encoder-decoder against transformers: the same numbers from the same weights, in and out."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import IDS, assert_close, assert_decodes_step_by_step, assert_same_gradients, forward, imported, there_and_back
from zoo import ENCODER_DECODERS, FIRST

import lmjax
from lmjax.config import UsageError
from lmjax.data.special_tokens import start_id, with_specials
from lmjax.data.tokenizers import tokenizer_class
from lmjax.generate.beams import search
from lmjax.generate.config import SamplingConfig
from lmjax.generate.decode import stream
from lmjax.generate.text import generate_text, source_ids
from lmjax.interop.huggingface import export_folder, import_folder
from lmjax.interop.tensors import TensorFolder, write_tensors
from lmjax.models import build
from lmjax.models.families import FAMILIES
from lmjax.types import Inputs

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

SOURCE = np.random.default_rng(2).integers(5, 37, (2, 17))
MASK = np.arange(17)[None] < np.array([[11], [17]])


def each(fast):
    """A case for each network: some at once, the first of each family in slow, the whole grid in full."""
    marks = {name: [pytest.mark.slow] for name in FIRST} | {name: [] for name in fast}
    cases = [pytest.param(name, marks=marks.get(name, [pytest.mark.full])) for name in ENCODER_DECODERS]
    return pytest.mark.parametrize('name', cases)


families = each(fast=FIRST)
dear = each(fast=['t5'])


def theirs_of(model, ids, source, mask=None, **more):
    mask = np.ones_like(source) if mask is None else mask
    with torch.no_grad():
        return model(torch.tensor(source), torch.tensor(mask).long(), torch.tensor(ids), **more)


@families
def test_logits(zoo, name):
    model, folder = zoo(name)
    run = imported(folder)
    assert run.config.objective.kind == 'seq2seq'
    assert_close(run.logits(IDS, source_ids=SOURCE), theirs_of(model, IDS, SOURCE).logits.numpy())


@families
def test_a_padded_source_is_as_if_it_were_alone(zoo, name):
    model, folder = zoo(name)
    inputs = Inputs(IDS, source_ids=SOURCE, source_mask=MASK)
    ours = np.asarray(forward(folder)(imported(folder).params, inputs))
    assert_close(ours, theirs_of(model, IDS, SOURCE, MASK).logits.numpy())
    assert_close(ours[:1], theirs_of(model, IDS[:1], SOURCE[:1, :11]).logits.numpy())


@dear
def test_loss_and_gradients(zoo, name):
    model, folder = zoo(name)
    run = imported(folder)

    def loss(params):
        inputs = Inputs(jnp.asarray(IDS[:, :-1]), source_ids=SOURCE, source_mask=MASK)
        return -run.model.score(params, run.model.apply(params, inputs).hidden, jnp.asarray(IDS[:, 1:])).logprob.mean()

    value, slopes = jax.jit(jax.value_and_grad(loss))(run.params)
    model.zero_grad()
    output = model(torch.tensor(SOURCE), torch.tensor(MASK).long(), torch.tensor(IDS[:, :-1]))
    theirs = torch.nn.functional.cross_entropy(output.logits.reshape(-1, 37), torch.tensor(IDS[:, 1:]).reshape(-1))
    theirs.backward()
    np.testing.assert_allclose(value, theirs.item(), atol=1e-4)
    assert_same_gradients(ENCODER_DECODERS[name][0], run.config.model, slopes, model)


@dear
def test_decoding_through_the_cache_step_by_step(zoo, name):
    model, folder = zoo(name)

    def theirs(ids, past):
        return theirs_of(model, ids, SOURCE, MASK, past_key_values=past, use_cache=True)

    assert_decodes_step_by_step(imported(folder), (SOURCE, MASK), theirs)


@dear
def test_greedy_and_beam_search_find_the_same(zoo, name):
    """64 tokens of the likeliest each, and four beams of which some end."""
    model, folder = zoo(name)
    run = imported(folder)
    rows = [SOURCE[0, :11], SOURCE[1]]
    start = model.config.decoder_start_token_id
    given = {'inputs': torch.tensor(np.where(MASK, SOURCE, 3)), 'attention_mask': torch.tensor(MASK).long(), 'pad_token_id': 3}
    wanted = 30 if name.startswith('bart') else 64  # BART has 40 positions
    theirs = model.generate(**given, max_new_tokens=wanted, do_sample=False, eos_token_id=None)
    sampling = SamplingConfig(max_new_tokens=wanted, greedy=True)
    ours = stream(run.model, run.params, [[start]] * 2, sampling, context=None, sources=rows)
    assert np.concatenate(list(ours), axis=1).tolist() == theirs[:, 1:].tolist()
    more = {'num_beams': 4, 'num_return_sequences': 3, 'length_penalty': 0.7, 'eos_token_id': 9, 'max_new_tokens': 12}
    theirs = model.generate(**given, **more, do_sample=False, output_scores=True, return_dict_in_generate=True)
    sampling = SamplingConfig(max_new_tokens=12, num_beams=4, num_samples=3, length_penalty=0.7)
    found = search(run.model, run.params, [[start]] * 2, sampling, stop_ids=(9,), sources=rows)
    np.testing.assert_allclose(found.score, theirs.sequences_scores.reshape(2, 3), atol=1e-4)
    best, theirs = found.tokens[:, 0], theirs.sequences.reshape(2, 3, -1)[:, 0, 1:].numpy()  # the others may be as good
    assert np.where(best < 0, 3, best).tolist() == theirs[:, : best.shape[1]].tolist()


@dear
@pytest.mark.parametrize('scan_layers', [False, True])
def test_there_and_back_again_bitwise_and_transformers_loads_it(zoo, name, scan_layers, tmp_path):
    model, folder = zoo(name)
    loaded, _, _ = there_and_back(model, folder, scan_layers, str(tmp_path / 'again'))
    assert_close(theirs_of(loaded, IDS, SOURCE).logits.numpy(), theirs_of(model, IDS, SOURCE).logits.numpy())


@pytest.mark.parametrize('name', ['t5-tiny', pytest.param('bart-tiny', marks=pytest.mark.slow)])
def test_text_out_of_an_export_is_the_same_there(name, tmp_path):
    """With our special tokens: what stands for a mask, the end of a source, and where a decoder begins."""
    import transformers

    lines = ['import os\n', 'def f(x):\n    return x\n', 'self.name = name\n'] * 3
    role = 'sentinel_0' if name.startswith('t5') else 'mask'
    tokenizer = with_specials(tokenizer_class('bpe').train(lines, lines, 280), [role])
    model = dataclasses.replace(FAMILIES[name].model, depth=1, encoder_depth=1, init='fan_in', init_scale=2.0, max_length=0)
    config = lmjax.Config(model=model, data=lmjax.DataConfig(seq_len=32))
    network = build(model, vocab_size=tokenizer.vocab_size, seq_len=32)
    params = jax.jit(network.init)(jax.random.key(1), {'init_scale': 2.0})
    folder = str(tmp_path / 'out')
    export_folder(config, params, tokenizer, folder)
    run, theirs = lmjax.load(f'hf:{folder}'), transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert run.generate('self.<mask> = name', max_new_tokens=9, greedy=True) == generate_text(
        network, params, tokenizer, 'self.<mask> = name', SamplingConfig(max_new_tokens=9, greedy=True)
    )
    source = source_ids(run.tokenizer, 'self.<mask> = name')
    text = 'self.' + tokenizer.special_texts()[role] + ' = name'
    assert source.tolist() == [*transformers.AutoTokenizer.from_pretrained(folder)(text).input_ids, tokenizer.separator_id]
    found = theirs.generate(torch.tensor(source)[None], max_new_tokens=9, do_sample=False, num_beams=1)[0].tolist()
    sampling, start = SamplingConfig(max_new_tokens=9, greedy=True), start_id(run.tokenizer)
    own = stream(run.model, run.params, [[start]], sampling, stop_ids=run.tokenizer.end_ids, sources=[source])
    own = np.concatenate(list(own), axis=1)[0].tolist()
    assert len(set(own)) > 2
    assert found == [start, *(token for token in own if token >= 0)]


def test_a_bias_of_the_logits_that_is_not_zero_is_refused(zoo, tmp_path):
    _, folder = zoo('bart')
    tensors = TensorFolder(folder)
    whole = {name: tensors.read(name) for name in tensors.index} | {'final_logits_bias': np.full((1, 37), 0.5, np.float32)}
    write_tensors(str(tmp_path), {name: value.nbytes for name, value in whole.items()}, iter(whole.items()))
    (tmp_path / 'config.json').write_text(pathlib.Path(folder, 'config.json').read_text())
    with pytest.raises(UsageError, match='final_logits_bias is not zero'):
        import_folder(str(tmp_path))


@pytest.mark.parametrize(
    ('name', 'field', 'value'),
    [('bart', 'encoder_ffn_dim', 30), ('t5', 'feed_forward_proj', 'gated-mish'), ('t5', 'is_encoder_decoder', False)],
)
def test_what_is_not_known_is_refused_by_its_field(zoo, name, field, value, tmp_path):

    described = json.loads(pathlib.Path(zoo(name)[1], 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**described, field: value}))
    with pytest.raises(UsageError, match=f'config.json: {field}={value!r}'):
        import_folder(str(tmp_path))
