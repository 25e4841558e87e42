"""Vectors of texts that belong together: sentences and their translations, questions and their answers.

    python -m experiments.finetune --config=configs/tasks/embeddings.py:pairs.jsonl,en,it --init=hf:DIR --workdir=runs/vectors
    python -m experiments.evaluate --workdir=runs/vectors --data='matched:pairs.jsonl#en,it@0/10'
    python -m experiments.retrieve --workdir=runs/vectors --data='pairs.jsonl#en,it@0/10' --baseline

After the file (.jsonl, .csv, .tsv) stand the columns of a text, of what belongs to it and, if there are any, of texts that do
not (hard negatives). Rows whose number modulo 10 is 1 validate, those with 0 are left for the test above, and the others train.
All parameters of the network are trained. docs/tasks.md says what that reaches.
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig


def get_config(settings: str = 'pairs.jsonl,text,match') -> Config:
    path, columns = settings.split(',', maxsplit=1)
    return Config(
        name='embeddings',
        data=DataConfig(
            source=f'matched:{path}#{columns}@2-9/10',
            valid_source=f'matched:{path}#{columns}@1/10',
            seq_len=128,
            layout='documents',
            buckets=6,
        ),
        objective=ObjectiveConfig(kind='match', temperature=0.05),
        optim=OptimConfig(learning_rate=1e-4, schedule='linear', warmup_steps=50, final_fraction=0.0, weight_decay=0.01),
        train=TrainConfig(
            steps=0,
            epochs=1,
            batch_size=64,
            eval_batch_size=64,
            eval_every=50,
            log_every=10,
            metric='mrr',
            keep_best=1,
            load_best=True,
        ),
        log=LogConfig(prompts=()),
        next_step="search with it: python -m experiments.retrieve --workdir=WORKDIR --data='FILE#QUERY,TEXTS' --baseline",
    )
