"""A small network, and a program that answers command lines of an entry point with it: each is a list of flags."""

import contextlib
import importlib
import io
import json
import pathlib
import sys


def network():
    import jax

    import lmjax
    from lmjax.data.tokenizers import tokenizer_class
    from lmjax.models import build

    config = lmjax.Config(model=lmjax.TransformerConfig(width=8, depth=1, heads=2), data=lmjax.DataConfig(seq_len=32))
    tokenizer = tokenizer_class('bpe').train(['the cat and a dog sat and the dog sat on a cat ' * 40], [], 280)
    model = build(config.model, vocab_size=tokenizer.vocab_size, seq_len=32)
    return lmjax.Run('runs/none', config, model, jax.jit(model.init)(jax.random.key(0), {}), tokenizer)


def answer(name, cases):
    """Of each case the lines that are printed, or in a list of one the error."""
    from absl import flags

    import lmjax

    module, run, found = importlib.import_module(f'experiments.{name}'), network(), []
    lmjax.load = lambda workdir, **_: run
    for case in cases:
        flags.FLAGS.unparse_flags()
        for flag in flags.FLAGS.flags_by_module_dict()[module.__name__]:
            flag.unparse()
        flags.FLAGS(['x', '--workdir=x', *case])
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                assert module.main([]) == 0
            found.append(out.getvalue().splitlines())
        except lmjax.UsageError as error:
            found.append([f'error: {error}'])
    return found


if __name__ == '__main__':
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
    print(json.dumps(answer(*json.load(sys.stdin))))
