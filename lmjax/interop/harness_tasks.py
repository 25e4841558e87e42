"""Tasks of lm-evaluation-harness, run on a network: what they report, as a table and as answers one by one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmjax.config import UsageError, first_line, require
from lmjax.data.chat import need_chat
from lmjax.interop.harness import Examinee, language_model, library

DRAWS = 1000  # for the standard error of a score that is no mean, by bootstrap
HEADINGS = ('Task', 'Filter', 'n-shot', 'Metric', 'Value', 'Stderr')


def run_tasks(
    examinee: Examinee, tasks: str, *, limit: int = 0, shots: int | None = None, chat: bool = False, name: str = ''
) -> dict[str, Any]:
    """What the harness reports of tasks, its `simple_evaluate`, with every answer in `samples`.

    Args:
      tasks: a folder of YAML files, such a file, or the name of one of the harness's own tasks; several with commas between.
      limit: texts of each task; 0: all.
      shots: solved texts before each one; None: as the tasks say.
      chat: ask in the checkpoint's chat template.
      name: what the results call the network.

    Raises:
      UsageError: lm_eval is missing, there is no such task, it cannot be read, or the network cannot answer it.
    """
    require(limit >= 0, 'limit', limit, 'must not be negative; 0 takes all texts')
    require(shots is None or shots >= 0, 'shots', shots, 'must not be negative; 0 shows none')
    harness = library()
    if chat:
        need_chat('tokenizer', examinee.tokenizer)
    manager, names = find_tasks(tasks)
    os.environ.setdefault('DISABLE_MULTIPROC', '1')  # its bootstrap would fork a process that runs jax's threads
    try:
        manager.load(names)
    except Exception as error:  # whatever the library and the task's own text raise
        raise UsageError(f'tasks={tasks!r}: cannot be loaded ({type(error).__name__}: {first_line(error)})') from error
    return harness.simple_evaluate(
        model=language_model(examinee, name=name),
        tasks=names,
        task_manager=manager,
        num_fewshot=shots,
        limit=limit or None,
        apply_chat_template=chat,
        bootstrap_iters=DRAWS,
        torch_random_seed=None,
    )


def find_tasks(tasks: str) -> tuple[Any, list[str]]:
    """The harness's manager and the names that it knows these tasks by. Raises UsageError where there are none."""
    library()
    from lm_eval.tasks import TaskManager

    asked = [part for part in tasks.split(',') if part]
    require(bool(asked), 'tasks', tasks, 'names no task; give a folder of YAML files')
    for part in asked:
        is_path = os.sep in part or part.endswith('.yaml')
        require(not is_path or os.path.exists(part), 'tasks', part, 'no such folder or YAML file')
    folders = [part for part in asked if os.path.isdir(part)]
    manager = TaskManager(include_path=folders, include_defaults=any(not os.path.exists(part) for part in asked))
    names: list[str] = []
    for part in asked:
        found = in_folder(manager, part) if part in folders else [part]
        require(bool(found), 'tasks', part, 'has no YAML file with a task; docs/tasks.md shows one')
        known = part in folders or os.path.isfile(part) or part in manager.all_tasks
        require(known, 'tasks', part, "no such folder or YAML file, and not one of the harness's own tasks")
        names += found
    return manager, names


def in_folder(manager: Any, folder: str) -> list[str]:
    """The tasks and groups of a folder's files, without tasks that a group of it has."""
    here = os.path.abspath(folder)
    rows = {
        name: row
        for name, row in manager.task_index.items()
        if row.yaml_path and os.path.abspath(row.yaml_path).startswith(here + os.sep)
    }
    grouped = {task for row in rows.values() if 'group' in (row.cfg or {}) for task in _names(row.cfg['task'])}
    return [name for name in rows if name not in grouped]


def _names(listed: Any) -> list[str]:
    rows = listed if isinstance(listed, list) else [listed]
    return [row if isinstance(row, str) else row.get('task', '') for row in rows]


def scores(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each task and metric: `task`, `filter`, `shots`, `metric`, `value` and its standard error, None if unknown."""
    for task, found in results['results'].items():
        for key, value in found.items():
            metric, comma, chosen = key.partition(',')
            if not comma or metric.endswith('_stderr'):
                continue
            spread = found.get(f'{metric}_stderr,{chosen}')
            row = {'task': task, 'filter': chosen, 'shots': results['n-shot'].get(task), 'metric': metric, 'value': value}
            yield row | {'stderr': None if isinstance(spread, str) else spread}


def table(results: Mapping[str, Any]) -> str:
    """The scores in Markdown, as the harness prints them."""
    rows = [
        [str(row['task']), row['filter'], str(row['shots']), row['metric'], shown(row['value']), shown(row['stderr'])]
        for row in scores(results)
    ]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    lines = [HEADINGS, ['-' * width for width in widths], *rows]
    return '\n'.join('| ' + ' | '.join(map(str.ljust, line, widths)) + ' |' for line in lines)


def shown(value: Any) -> str:
    return '' if value is None else f'{value:.4f}' if isinstance(value, float) else str(value)


def as_json(results: Mapping[str, Any]) -> str:
    """What the harness reports, without the single answers."""
    return json.dumps({key: value for key, value in results.items() if key != 'samples'}, indent=2, default=str)


def answer_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each answer as `experiments.compare` reads it: `task`, `text` (the prompt), `label` and what was `told`.

    Raises UsageError for a task of likelihoods alone, which tells nothing.
    """
    rows = []
    for task, samples in results['samples'].items():
        kind = results['configs'][task]['output_type']
        if kind not in TOLD:
            raise UsageError(f'tasks={task!r}: output_type {kind} tells nothing; leave the predictions out')
        for sample in samples:
            label, told = TOLD[kind](sample)
            rows.append({'task': task, 'text': sample['arguments'][0][0], 'label': label, 'told': told})
    return rows


def chosen_answer(sample: Mapping[str, Any]) -> tuple[str, str]:
    """The right one of several answers and the likeliest, the first of equals."""
    asked, target = sample['arguments'], sample['target']
    answers = [after for before, after in asked if before == asked[0][0]]
    require(isinstance(target, int), 'tasks', target, 'is not the number of one answer; leave the predictions out')
    found: Sequence[float] = [told[0] for told in sample['filtered_resps'][: len(answers)]]
    return answers[target], answers[found.index(max(found))]


# what a task asks for -> the label of a sample and what was told
TOLD = {
    'multiple_choice': chosen_answer,
    'generate_until': lambda sample: (str(sample['target']), str(sample['filtered_resps'][0])),
}
