"""From a config and a corpus to the compiled functions of a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax

from lmjax.config import free_paths, leaves, require
from lmjax.data.corruptions import corruption_of
from lmjax.data.loader import example_batch
from lmjax.data.marks import plain_marks
from lmjax.objectives.table import objective_of
from lmjax.optim import build_optimizer
from lmjax.optim.adapters import merged, with_noise
from lmjax.parallel.compiler import compiler_options
from lmjax.parallel.mesh import make_mesh
from lmjax.parallel.sharding import batch_sharding, shard_batch, shardings, state_shardings
from lmjax.training.adversary import gradient_of
from lmjax.training.config import Config
from lmjax.training.evaluation import EvalStep, shared_eval_step
from lmjax.training.network import bare_network, classes_of, learner_of, network_of
from lmjax.training.state import TrainState, hparams_of, init_state, scalar_paths
from lmjax.training.step import train_step
from lmjax.training.teacher import digest_of
from lmjax.types import Array, Batch, HParams, Model, Teacher, Tree


class Program(NamedTuple):
    """The functions of a run, compiled for its mesh, and the shapes and places of its state."""

    model: Model  # the whole network
    hparams: HParams
    mesh: jax.sharding.Mesh
    init: Callable[[], TrainState]
    step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, Any]]]
    evaluate: EvalStep
    compile: Callable[[Sequence[int]], None]  # both, before they are called: the step for batches of each of these widths
    place: Callable[[Batch], Batch]  # host rows -> arrays on the mesh
    like: TrainState  # shapes, types and shardings, to restore into
    whole: Callable[[Tree], Tree]  # what is learned -> parameters of `model`
    digests: Mapping[str, str]  # of the parameters of other networks: `teacher`, `base`
    teacher: Teacher | None  # whose parameters lie over the mesh
    again: Callable[[Config], Program]  # the same functions for another config of the same `structure_of`


def assemble(config: Config, vocab_size: int, teacher: Teacher | None = None, base: Tree = None) -> Program:
    """Builds the network, the optimizer and the mesh, and jits init and step over them.

    The parameters of a teacher, and those of the base that is adapted, are laid over the mesh and are arguments of the compiled
    step, of no state. Raises UsageError for a choice that does not exist, or sizes that contradict each other.
    """
    model = network_of(config, vocab_size)
    check_carry(config, model)
    mesh, hparams, key = make_mesh(config.mesh), hparams_of(config), jax.random.key(config.seed)
    taught = None if teacher is None else _placed(teacher.model, teacher.params, mesh)
    kept = None if base is None else _placed(bare_network(config, vocab_size), base, mesh)
    learns = learner_of(config, model, kept)
    make_tx = build_optimizer(config.optim, learns.axes, steps=config.train.steps)
    rows = config.train.batch_size if config.train.carry else 0

    def init(root: Array, hparams: HParams, kept: Tree) -> TrainState:
        return init_state(learner_of(config, model, kept), make_tx, root, hparams, carry_rows=rows)

    shapes = jax.eval_shape(init, key, hparams, kept)
    places = _places(mesh, learns.axes, shapes)
    step = jax.jit(
        _step_of(config, model, make_tx, teacher),
        donate_argnums=0,
        in_shardings=(places, batch_sharding(mesh), None, None, None),
        out_shardings=(places, None),
        compiler_options=compiler_options(),
    )
    fresh = jax.jit(init, out_shardings=places)
    place = partial(shard_batch, mesh=mesh)
    like = jax.tree.map(lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes, places)

    def compile_init() -> None:
        fresh.lower(key, hparams, kept).compile()

    def compile_step(width: int) -> None:
        batch = place(plain_batch(config, vocab_size, rows=config.train.batch_size, width=width))
        step.lower(like, batch, hparams, taught, kept).compile()  # jit looks here before it compiles anything

    digests = _digests(teacher=teacher and teacher.params, base=base)
    teacher = teacher and teacher._replace(params=taught)
    evaluate = shared_eval_step(model, objective_of(config.objective), teacher)
    whole = (lambda params: params) if base is None else whole_of(config, model, kept)
    compile_all = _once_a_width(compile_init, compile_step)

    def program(config: Config) -> Program:
        hparams = hparams_of(config)
        init, score = partial(fresh, jax.random.key(config.seed), hparams, kept), evaluate(hparams)

        def go(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Any]]:
            return step(state, batch, hparams, taught, kept)

        return Program(model, hparams, mesh, init, go, score, compile_all, place, like, whole, digests, teacher, program)

    return program(config)


def _places(mesh: jax.sharding.Mesh, axes: Tree, shapes: TrainState) -> TrainState:
    """Where each array of a state lies."""
    places = state_shardings(mesh, axes, shapes.params, shapes)
    if shapes.carry is not None:
        places = places._replace(carry=jax.tree.map(lambda _: batch_sharding(mesh), shapes.carry))
    return places


def _once_a_width(init: Callable[[], None], step: Callable[[int], None]) -> Callable[[Sequence[int]], None]:
    """Compiles both, the step for each of several widths that it has not been compiled for."""
    done: set[int] = set()

    def compile_all(widths: Sequence[int]) -> None:
        wanted = [width for width in widths if width not in done]
        with ThreadPoolExecutor(2) as beside:  # each takes seconds, and much of them on one core
            begun = None if done else beside.submit(init)
            list(beside.map(step, wanted))
            if begun:
                begun.result()
        done.update(wanted)

    return compile_all


class Programs:
    """The programs of runs that follow each other in one process: those of the same structure share one."""

    def __init__(self) -> None:
        self._made: dict[str, Program] = {}

    def of(self, config: Config, vocab_size: int) -> Program:
        """As `assemble`, of a config without teacher and base."""
        key = f'{vocab_size} {structure_of(config)}'
        if key not in self._made:
            self._made[key] = assemble(config, vocab_size)
        return self._made[key].again(config)


def structure_of(config: Config) -> str:
    """What a program is made for: configs that differ in their seed, their scalars or their cadences alone share it."""
    names, skip = scalar_paths(config), {path for path in free_paths(config) if not path.startswith('mesh.')}
    kept = {path: names.get(path, value) for path, value in leaves(config).items() if path not in skip | {'seed'}}
    return json.dumps(kept, sort_keys=True)


def plain_batch(config: Config, vocab_size: int, *, rows: int, width: int = 0) -> Batch:
    """A batch of no text, of the shapes that every batch of a config has (of `width` tokens, or of data.seq_len).

    There is no padding so far as it goes.
    """
    data = dataclasses.replace(config.data, seq_len=width or config.data.seq_len, buckets=0)
    corrupt = corruption_of(config.objective, plain_marks(vocab_size, sentinels=config.data.seq_len))
    return example_batch(data, batch_size=rows, classes=classes_of(config.objective), corrupt=corrupt)


def _step_of(config: Config, model: Model, make_tx: Callable[[HParams], Any], teacher: Teacher | None) -> Callable[..., Any]:
    """`train_step` with the parameters of a teacher and of a base (or None) as last arguments: no program holds them."""
    objective = objective_of(config.objective)

    def step(state: TrainState, batch: Batch, hparams: HParams, taught: Tree, kept: Tree) -> tuple[TrainState, dict[str, Any]]:
        loss = objective.loss if teacher is None else partial(objective.loss, teacher=teacher._replace(params=taught))
        return train_step(
            learner_of(config, model, kept),
            loss,
            make_tx,
            state,
            batch,
            hparams,
            accumulate=config.train.accumulate,
            gradient=gradient_of(config.adversary, model),
            noise=lambda key, params: with_noise(key, kept, params, model.axes, config.adapt) if config.adapt.kind else params,
        )

    return step


def whole_of(config: Config, model: Model, kept: Tree) -> Callable[[Tree], Tree]:
    """A function: what was learned beside `kept` -> the parameters of the whole network."""
    join = jax.jit(lambda params, kept: merged(kept, params, model.axes, config.adapt))
    return lambda params: join(params, kept)


def _digests(**params: Tree) -> dict[str, str]:
    """The digest of each tree that there is."""
    return {name: digest_of(tree) for name, tree in params.items() if tree is not None}


def _placed(model: Model, params: Tree, mesh: jax.sharding.Mesh) -> Tree:
    """A network's parameters as its axes lie over the mesh."""
    return jax.device_put(params, shardings(mesh, model.axes, params))


def check_carry(config: Config, model: Model) -> None:
    """A carried state needs a recurrent network and rows that go on where they left off."""
    if not config.train.carry:
        return
    require(model.traits.recurrent, 'train.carry', True, f'a {config.model.kind} has no state to carry; set it to false')
    require(
        config.data.order == 'contiguous' and config.data.layout == 'windows',
        'train.carry',
        True,
        "needs data.order='contiguous' and data.layout='windows', so that each row goes on where it left off",
    )
