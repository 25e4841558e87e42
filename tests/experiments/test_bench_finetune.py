"""The fine-tuning benchmark: both sides read the same texts, from the same checkpoint, and pad as they say."""

import pytest

pytest.importorskip('torch')
pytest.importorskip('transformers')

from experiments.bench import finetuners

SIZES = {'seq_len': 12, 'batch_size': 4}
WORDS = ['good', 'bad', 'food', 'day']


@pytest.fixture(scope='module')
def given(tmp_path_factory):
    """(checkpoint's folder, what --data names): a small BERT of a few words, and 40 texts of 1 to 10 of them."""
    import tokenizers
    import transformers
    from tokenizers import models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp('bench')
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS]
    library = tokenizers.Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token='[UNK]'))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.post_processor = processors.BertProcessing(('[SEP]', 3), ('[CLS]', 2))
    names = {f'{name}_token': f'[{name.upper()}]' for name in ('pad', 'unk', 'cls', 'sep', 'mask')}
    transformers.PreTrainedTokenizerFast(tokenizer_object=library, **names).save_pretrained(folder / 'bert')
    sizes = {'hidden_size': 8, 'num_hidden_layers': 1, 'num_attention_heads': 2, 'intermediate_size': 16}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=16, **sizes)
    transformers.BertForMaskedLM(config).save_pretrained(folder / 'bert')
    rows = [(' '.join(WORDS[(i + j) % 4] for j in range(1 + i % 10)), 'yes' if i % 3 else 'no') for i in range(40)]
    (folder / 'texts.csv').write_text('text,label\n' + '\n'.join(','.join(row) for row in rows))
    return str(folder / 'bert'), f'{folder}/texts.csv#text,label'


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::UserWarning', 'ignore::FutureWarning', 'ignore::DeprecationWarning')
def test_both_sides_train_on_the_same_texts(given):
    folder, data = given
    padded, by_length = (finetuners.JaxSide(f'hf:{folder}', data, buckets=count, **SIZES) for count in (0, 2))
    texts = padded.texts
    theirs = {way: finetuners.TrainerSide(folder, texts, longest=way == 'longest', **SIZES) for way in ('padded', 'longest')}
    tokens = {tuple(row['input_ids']) for row in theirs['padded']._rows}
    ours = {tuple(texts.tokens[a:b].tolist()) for a, b in zip(texts.doc_offsets[:-1], texts.doc_offsets[1:], strict=True)}
    assert tokens == ours
    assert {row['labels'] for row in theirs['padded']._rows} == {0, 1}
    sides = {'padded': padded, 'length': by_length, 'trainer': theirs['padded'], 'longest': theirs['longest']}
    found = {}
    for name, side in sides.items():
        rates = [side.run(9), side.run(9)]  # 36 texts to train on: an epoch
        found[name] = finetuners.figures_of(side, rates)
        assert min(rates) > 0
        assert 0 < found[name]['loss'] < 2
        assert 'texts/s' in finetuners.row(name, found[name])
    share = 1 - sum(len(row) for row in ours) / (len(ours) * 12)
    assert found['padded']['padding'] == pytest.approx(found['trainer']['padding'], abs=0.05)
    assert found['padded']['padding'] == pytest.approx(share, abs=0.05)
    assert found['length']['padding'] < found['longest']['padding'] < found['padded']['padding']
    assert found['length']['compile_seconds'] > 0
    assert 'compile_seconds' not in found['longest']
