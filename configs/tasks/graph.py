"""Links that a knowledge graph lacks: of a head and a relation the tail, by embeddings or by a language model of triples.

    python -m experiments.finetune --config=configs/tasks/graph.py:umls,complex --init=none --workdir=runs/umls
    python -m experiments.evaluate --workdir=runs/umls --data='triples:umls_test.tsv#umls_{train,valid}.tsv'
    python -m experiments.predict --workdir=runs/umls --input=queries.tsv

Triples, HEAD<TAB>RELATION<TAB>TAIL a line, lie in umls_train.tsv, umls_valid.tsv and umls_test.tsv; queries are
HEAD<TAB>RELATION. After the comma stands a row of MODELS: embeddings by the scoring of TransE, DistMult, ComplEx or RotatE, a
transformer or an LSTM. Each triple is asked both ways, and ranks leave out what is known to be right as well (files after #).
For the 135 entities and 46 relations of UMLS ComplEx has 117,248 parameters. docs/tasks.md says what that reaches.
"""

from lmjax import (
    Config,
    DataConfig,
    GraphConfig,
    LogConfig,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    TrainConfig,
    TransformerConfig,
)
from lmjax.config import choose

MODELS = {
    'transe': GraphConfig(scoring='transe', width=64),
    'distmult': GraphConfig(scoring='distmult', dropout=0.3),
    'complex': GraphConfig(scoring='complex', dropout=0.3),
    'rotate': GraphConfig(scoring='rotate', width=64),
    'transformer': TransformerConfig(width=128, depth=2, heads=4, dropout=0.2),
    'lstm': RecurrentConfig(embedding=128, hidden=128, depth=1, dropout=0.2),
}


def get_config(settings: str = 'graph,complex') -> Config:
    path, _, name = settings.partition(',')
    return Config(
        name='graph',
        data=DataConfig(
            source=f'triples:{path}_train.tsv',
            valid_source=f'triples:{path}_valid.tsv#{path}_{{train,test}}.tsv',
            tokenizer='word',
            seq_len=3,
            layout='documents',
        ),
        model=choose(MODELS, name or 'complex', 'config argument'),
        objective=ObjectiveConfig(kind='link'),
        optim=OptimConfig(learning_rate=1e-2, schedule='constant', warmup_steps=0),
        train=TrainConfig(
            steps=0,
            epochs=60,
            batch_size=256,
            eval_batch_size=512,
            eval_epochs=5,
            patience=3,
            log_every=200,
            metric='mrr',
            keep_best=1,
            load_best=True,
        ),
        log=LogConfig(prompts=()),
        next_step='ask it: python -m experiments.predict --workdir=WORKDIR --input=FILE, a file of HEAD<TAB>RELATION',
    )
