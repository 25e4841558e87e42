# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # lmjax in a notebook
#
# Two cells to a trained language model on a Colab TPU or GPU (or a laptop); then a sample, the curve and one ablation.
# On Colab, choose a TPU or GPU under *Runtime*, and put the address of the repository into the first cell.

# %%
REPOSITORY = ''  # on Colab: the address to clone lmjax from; empty where the notebook lies in its repository

import importlib.util
import os
import subprocess
import sys

if REPOSITORY and not os.path.isdir('lmjax-repository'):
    subprocess.run(['git', 'clone', '-q', REPOSITORY, 'lmjax-repository'], check=True)
root = 'lmjax-repository' if REPOSITORY else next(p for p in ('.', '..') if os.path.isfile(f'{p}/pyproject.toml'))
os.chdir(root)
sys.path.insert(0, os.getcwd())
if importlib.util.find_spec('ml_collections') is None:
    # jax stays as Colab has it: its own build is the one that sees the chips.
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '-e', '.'], check=True)

import lmjax

lmjax.doctor()

# %%
from configs import quickstart

WORKDIR = 'runs/notebook'
config = quickstart.get_config()
config.train.steps = 300
lmjax.train(config, f'{WORKDIR}/base')

# %% [markdown]
# ## A sample

# %%
run = lmjax.load(f'{WORKDIR}/base')
print(run.generate('def ', max_new_tokens=60, temperature=0.8)[0])

# %% [markdown]
# ## One ablation: the same run with another feed-forward

# %%
import copy

other = copy.deepcopy(config)
other.model.feed_forward = 'relu'
lmjax.train(other, f'{WORKDIR}/relu')

# %% [markdown]
# ## The curves

# %%
import json

import matplotlib.pyplot as plt


def curve(workdir):
    with open(f'{workdir}/metrics.jsonl') as file:
        rows = [json.loads(line) for line in file]
    return zip(*[(row['step'], row['bits_per_byte']) for row in rows if row['split'] == 'valid'], strict=True)


figure, axes = plt.subplots(figsize=(6, 3))
for name in ('base', 'relu'):
    axes.plot(*curve(f'{WORKDIR}/{name}'), marker='o', label=name)
axes.set_xlabel('step')
axes.set_ylabel('validation bits per byte')
axes.legend()
figure

# %% [markdown]
# One seed each: before you believe a difference, repeat both with `config.seed = 1, 2, ...`.
