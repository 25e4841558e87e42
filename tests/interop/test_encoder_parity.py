"""Every encoder against transformers: the same numbers from the same weights, in and out."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import IDS, assert_close, assert_same_gradients, forward, imported, there_and_back
from zoo import ENCODERS, FIRST

from lmjax.interop.huggingface import import_folder
from lmjax.interop.tensors import TensorFolder, write_tensors
from lmjax.objectives.table import OBJECTIVES
from lmjax.types import Batch, Inputs

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

FAST = {'bert'}
TYPES = np.random.default_rng(1).integers(0, 2, IDS.shape)
WITH_HEAD = [name for name in ENCODERS if 'headless' not in name]


def each(names, at_once=FAST):
    """A case for each network: some at once, the first of each family in slow, the whole grid in full."""
    marks = {name: [pytest.mark.slow] for name in FIRST} | {name: [] for name in at_once}
    return pytest.mark.parametrize('name', [pytest.param(name, marks=marks.get(name, [pytest.mark.full])) for name in names])


def types_of(model):
    return TYPES if getattr(model.config, 'type_vocab_size', 0) > 1 else None


def theirs_of(model, ids, types=None, **more):
    more |= {} if types is None else {'token_type_ids': torch.tensor(types)}
    with torch.no_grad():
        return model(torch.tensor(ids), **more)


def scores(output):
    return (output.prediction_logits if hasattr(output, 'prediction_logits') else output.logits).numpy()


@each(WITH_HEAD, at_once=FIRST)
def test_logits(zoo, name):
    model, folder = zoo(name)
    types = types_of(model)
    run = imported(folder)
    assert not run.config.model.causal
    assert run.config.objective.kind == 'masked'
    output = theirs_of(model, IDS, types)
    assert_close(forward(folder)(run.params, Inputs(IDS, types=types)), scores(output))
    if run.config.model.classes:
        ours = jax.jit(run.model.apply)(run.params, Inputs(IDS, types=types)).row_logits
        assert_close(ours, output.seq_relationship_logits.numpy())


@pytest.mark.parametrize('name', [pytest.param(n, marks=pytest.mark.full) for n in ENCODERS if 'headless' in n])
def test_states_and_pooler_of_networks_without_a_head(zoo, name):
    model, folder = zoo(name)
    run, types = imported(folder), types_of(model)
    ours, theirs = jax.jit(run.model.apply)(run.params, Inputs(IDS, types=types)), theirs_of(model, IDS, types)
    assert_close(ours.hidden, theirs.last_hidden_state.numpy())
    if run.config.model.pooler:
        assert_close(ours.pooled, theirs.pooler_output.numpy())


@each(WITH_HEAD)
@pytest.mark.parametrize('side', ['left', 'right'])
def test_padded_rows_are_as_if_they_were_alone(zoo, name, side):
    model, folder = zoo(name)
    types, segments = types_of(model), np.ones_like(IDS)
    real = slice(9, None) if side == 'left' else slice(0, 15)
    segments[0] = 0
    segments[0, real] = 1
    positions = np.maximum(np.cumsum(segments, axis=1) - 1, 0)
    ours = np.asarray(forward(folder)(imported(folder).params, Inputs(IDS, positions, segments, types=types)))
    more = {'attention_mask': torch.tensor(segments)}
    if model.config.model_type != 'distilbert':  # which numbers positions from the first slot on, padding or not
        unused = imported(folder).config.model.unused_positions
        more['position_ids'] = torch.tensor(positions + unused)
    if model.config.model_type != 'distilbert' or side == 'right':
        assert_close(ours[0, real], scores(theirs_of(model, IDS, types, **more))[0, real])
    alone = None if types is None else types[:1, real]
    assert_close(ours[0, real], scores(theirs_of(model, IDS[:1, real], alone))[0])
    assert_close(ours[1], scores(theirs_of(model, IDS[1:], None if types is None else types[1:]))[0])


@each(['bert', 'roberta', 'distilbert'])
def test_packed_documents_are_as_if_they_were_alone(zoo, name):
    model, folder = zoo(name)
    types, segments = types_of(model), np.repeat([[1, 2, 3]], 2, axis=0).repeat([7, 13, 4], axis=1)
    ours = np.asarray(forward(folder)(imported(folder).params, Inputs(IDS, None, segments, types=types)))
    for start, end in ((0, 7), (7, 20), (20, 24)):
        alone = None if types is None else types[:, start:end]
        assert_close(ours[:, start:end], scores(theirs_of(model, IDS[:, start:end], alone)))


@each(WITH_HEAD, at_once=())
def test_loss_and_gradients_of_hidden_tokens(zoo, name):
    """Some positions are scored, row by row another number; theirs are marked by -100 elsewhere."""
    model, folder = zoo(name)
    run, types = imported(folder), types_of(model)
    at = np.array([[1, 5, 6, 20], [0, 2, 3, 4]])
    weights = np.array([[1, 1, 1, 1], [1, 0, 1, 0]], np.float32)
    targets = np.array([[7, 8, 9, 10], [11, 12, 13, 14]])
    batch = Batch(Inputs(jnp.asarray(IDS), types=types), targets, weights, jnp.asarray(at))
    loss = OBJECTIVES['masked'].loss
    value, slopes = jax.jit(jax.value_and_grad(lambda p: loss(run.model, p, batch, {}, None)[0] / weights.sum()))(run.params)
    labels = np.full(IDS.shape, -100)
    np.put_along_axis(labels, at, np.where(weights > 0, targets, -100), axis=1)
    model.zero_grad()
    logits = theirs_with_gradient(model, types)
    theirs = torch.nn.functional.cross_entropy(logits.reshape(-1, 37), torch.tensor(labels).reshape(-1))
    theirs.backward()
    np.testing.assert_allclose(value, theirs.item(), atol=1e-4)
    for parameter in model.parameters():  # the pooler's, which the loss does not reach
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    assert_same_gradients(ENCODERS[name][0], run.config.model, slopes, model)


def theirs_with_gradient(model, types):
    output = model(torch.tensor(IDS), **({} if types is None else {'token_type_ids': torch.tensor(types)}))
    return output.prediction_logits if hasattr(output, 'prediction_logits') else output.logits


@each(ENCODERS)
@pytest.mark.parametrize('scan_layers', [False, True])
def test_there_and_back_again_bitwise_and_transformers_loads_it(zoo, name, scan_layers, tmp_path):
    model, folder = zoo(name)
    there_and_back(model, folder, scan_layers, str(tmp_path / 'again'))


def test_older_spellings_and_copies_of_tied_tensors_are_read(zoo, tmp_path):
    """The Hub's first BERTs call a norm's scale gamma, and store the head's matrix beside the embedding."""
    _, folder = zoo('bert')
    tensors = TensorFolder(folder)
    whole = {name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'): tensors.read(name)
             for name in tensors.index}  # fmt: skip
    whole['cls.predictions.decoder.weight'] = whole['bert.embeddings.word_embeddings.weight']
    whole['bert.embeddings.position_ids'] = np.arange(40)[None]
    old = tmp_path / 'old'
    old.mkdir()
    write_tensors(str(old), {name: value.nbytes for name, value in whole.items()}, iter(whole.items()))
    described = pathlib.Path(folder, 'config.json').read_text()
    (old / 'config.json').write_text(described.replace('BertForPreTraining', 'BertForMaskedLM'))
    jax.tree.map(np.testing.assert_array_equal, import_folder(str(old)).params, import_folder(folder).params)
    assert import_folder(str(old)).config.model == import_folder(folder).config.model
