"""Checkpoints of a run: one atomic commit a step, newest valid one first, compared with what is wanted before it loads."""

from __future__ import annotations

import json
import math
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from lmjax.config import UsageError, first_line
from lmjax.training.checkpoint import commit, orbax_io, retention
from lmjax.training.checkpoint.commit import DamagedError, Manifest
from lmjax.training.checkpoint.structure import all_finite, check_fits, describe, flatten, unflatten
from lmjax.training.environment import versions

if TYPE_CHECKING:
    from lmjax.types import Tree

__all__ = ['Checkpointer', 'DamagedError', 'Manifest', 'all_finite']

PACKAGES = ('lmjax', 'jax', 'jaxlib', 'optax', 'orbax-checkpoint')


def warn_on_stderr(line: str) -> None:
    """Where warnings go by default."""
    print(f'warning: {line}', file=sys.stderr, flush=True)


class Checkpointer:
    """The checkpoints in `folder`, each in a folder named by its step.

    One save is in flight at a time. What goes wrong in it is raised by the next call of any method; until then the
    older checkpoints stay. Reading (`latest`, `best`, `restore`) needs no right to write.
    """

    def __init__(
        self,
        folder: Path | str,
        keep_latest: int = 2,
        keep_best: int = 1,
        *,
        warn: Callable[[str], None] = warn_on_stderr,
    ) -> None:
        self.folder = Path(folder)
        self.keep_latest, self.keep_best, self._warn = keep_latest, keep_best, warn
        self._writer = orbax_io.ArrayWriter()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix='checkpoint')
        self._pending: Future[None] | None = None
        self._verified: set[int] = set()  # steps whose digests this process has seen to be right
        self._swept = False

    def save(self, step: int, tree: Tree, meta: Mapping[str, Any], metric: float | None = None) -> None:
        """Starts to save; returns as soon as the arrays are copied off the devices. A committed step is left as it is.

        Args:
          tree: nested dicts, tuples and named tuples of arrays and numbers; typed keys as `jax.random.key_data`.
          meta: what the run wants to find again (JSON): config fingerprint, data position.
          metric: validation loss, lower is better; decides which are the best that are kept.
        """
        self.wait()
        if jax.process_count() > 1:
            raise UsageError(
                f'processes={jax.process_count()}: checkpoints are written by single-process runs; use one process'
            )
        if (self.folder / str(step)).exists():
            return
        self._sweep()
        arrays = flatten(tree)
        temporary = self.folder / f'tmp.{step}.{uuid.uuid4().hex[:8]}'
        metric = float(metric) if metric is not None and math.isfinite(metric) else None
        # Through JSON and back: what a reader will see, and an error now if it can't be written.
        manifest = Manifest(int(step), metric, json.loads(json.dumps(meta)), versions(PACKAGES), describe(arrays), {})
        try:
            temporary.mkdir(parents=True)
            self._writer.start(temporary / commit.ARRAYS, arrays)
        except Exception as error:
            raise self._failure(manifest, temporary, error) from error
        self._pending = self._thread.submit(self._commit, manifest, temporary)

    def wait(self) -> None:
        """Blocks until nothing is in flight; raises UsageError if the last save failed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Waits, then ends the threads."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._writer.close()

    def steps(self) -> list[int]:
        """The committed steps, ascending; none is checked."""
        self.wait()
        return self._steps()

    def latest(self) -> int | None:
        """The newest valid step by number; damaged ones are set aside and named in a warning.

        Raises:
          UsageError: there are only damaged ones: starting anew must be a person's decision.
        """
        steps = self.steps()[::-1]
        found = self._first_valid(steps)
        aside = sorted(path.name for path in self.folder.glob('damaged.*'))
        if found is None and (steps or aside):
            names = ', '.join(aside or map(str, steps))
            raise UsageError(f'{self.folder}: no valid checkpoint is left, only {names}; move them away to start from scratch')
        return found

    def best(self) -> int | None:
        """The valid step with the lowest metric; None if no step has one."""
        return self._first_valid(retention.best_first(self._metrics(self.steps())))

    def manifest(self, step: int) -> Manifest:
        """What is in a checkpoint, `meta` included, without loading it."""
        self.wait()
        return commit.read_manifest(self._existing(step))

    def restore(self, step: int, like: Tree, *, part: str = '') -> Tree:
        """The stored tree in the structure of `like`, on the shardings of its leaves (default device where they have none).

        Args:
          like: arrays or `ShapeDtypeStruct`s; NumPy leaves come back as NumPy arrays.
          part: only the subtree at this path, for instance 'params'; `like` is then that subtree.

        Raises:
          UsageError: names, shapes or types differ (found before anything is read), or the checkpoint is damaged.
        """
        manifest = self.manifest(step)
        wanted = flatten(like, part)
        stored = {path: leaf for path, leaf in manifest.leaves.items() if not part or f'{path}/'.startswith(f'{part}/')}
        check_fits(stored, describe(wanted), name=f'checkpoint {step}')
        if step not in self._verified:
            commit.verify(self._existing(step))
            self._verified.add(step)
        arrays = orbax_io.read_arrays(self._existing(step) / commit.ARRAYS, wanted)
        return unflatten(like, arrays, part)

    def _commit(self, manifest: Manifest, temporary: Path) -> None:
        """In the background: finish the files, vouch for them, make them visible, delete what need not stay."""
        try:
            self._writer.finish()
            commit.write_manifest(temporary, manifest._replace(files=commit.seal(temporary)))
            commit.publish(temporary, self.folder / str(manifest.step))
        except Exception as error:
            raise self._failure(manifest, temporary, error) from error
        self._verified.add(manifest.step)
        self._retain()

    def _retain(self) -> None:
        metrics = self._metrics(self._steps())
        for step in retention.doomed(metrics, keep_latest=self.keep_latest, keep_best=self.keep_best):
            try:
                commit.remove(self.folder / str(step))
            except OSError as error:
                self._warn(f'checkpoint {step} in {self.folder} is no longer needed but could not be deleted: {error}')

    def _failure(self, manifest: Manifest, temporary: Path, error: Exception) -> UsageError:
        shutil.rmtree(temporary, ignore_errors=True)
        why = first_line(error)
        needed = sum(leaf.nbytes for leaf in manifest.leaves.values())
        nearest = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(nearest).free
        return UsageError(
            f'checkpoint {manifest.step} was not saved in {self.folder}: {why}; about {needed:,} bytes needed, {free:,} free; '
            'make room or give another --workdir, then run the same command again'
        )

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal() and path.is_dir())

    def _metrics(self, steps: list[int]) -> dict[int, float | None]:
        """Step -> metric of those with a readable manifest: a damaged one is neither counted nor deleted."""
        metrics = {}
        for step in steps:
            try:
                metrics[step] = commit.read_manifest(self.folder / str(step)).metric
            except DamagedError:
                continue
        return metrics

    def _existing(self, step: int) -> Path:
        path = self.folder / str(step)
        if not path.is_dir():
            known = ', '.join(map(str, self._steps())) or 'none'
            raise UsageError(f'step={step}: no such checkpoint in {self.folder}; there are: {known}')
        return path

    def _first_valid(self, steps: list[int]) -> int | None:
        for step in steps:
            if step in self._verified or self._is_valid(step):
                return step
        return None

    def _is_valid(self, step: int) -> bool:
        folder = self.folder / str(step)
        try:
            commit.verify(folder)
        except DamagedError as error:
            self._set_aside(folder, error)
        except FileNotFoundError:
            if folder.exists():
                raise
            return False  # deleted by the run that it belongs to while we were reading
        else:
            self._verified.add(step)
            return True
        return False

    def _set_aside(self, folder: Path, error: DamagedError) -> None:
        if not folder.exists():
            return
        name = f'damaged.{folder.name}'
        while (folder.parent / name).exists():
            name += '.again'
        try:
            folder.rename(folder.parent / name)
            self._warn(f'{error}; set aside as {folder.parent / name}')
        except OSError as cause:
            self._warn(f'{error}; skipped (it could not be set aside: {cause})')

    def _sweep(self) -> None:
        """Removes what a killed save left; only ever by a writer, since a reader may look while another run saves."""
        if not self._swept:
            for path in self.folder.glob('tmp.*'):
                shutil.rmtree(path, ignore_errors=True)
        self._swept = True
