"""A check of the installation: what is here, what clashes, and whether work would silently land on the CPU.

Facts are collected in one place; the verdict over them is a pure function. `lmjax.doctor()` prints both.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from lmjax.config import UsageError, require
from lmjax.training.environment import environment, machine, versions

ACCELERATORS = {'tpu': 'tpu', 'gpu': 'gpu', 'cuda': 'gpu', 'rocm': 'gpu'}  # in JAX_PLATFORMS -> what JAX then reports
PLATFORMS = ('tpu', 'gpu', 'cpu')
TPU_VARIABLES = ('COLAB_TPU_ADDR', 'TPU_NAME', 'TPU_ACCELERATOR_TYPE', 'TPU_WORKER_ID')
PLUGINS = {'libtpu': 'tpu', 'jax-cuda12-plugin': 'gpu', 'jax-cuda13-plugin': 'gpu'}  # package -> what it is for
PARTNERS = {'jax-cuda12-plugin': 'jax-cuda12-pjrt', 'jax-cuda13-plugin': 'jax-cuda13-pjrt'}
EXTRAS = {'tpu': 'tpu', 'gpu': 'cuda13'}  # extra of jax to install where nothing else is known
CHOSEN_CPU = 'set JAX_PLATFORMS=cpu if the CPU is meant'
Facts = Mapping[str, Any]


class Verdict(NamedTuple):
    failure: str  # why work must not start, with the remedy; '' if it may
    warnings: list[str]


def doctor(expect: str = '', *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Prints what is installed and what is wrong with it; returns the facts.

    Args:
      expect: 'tpu', 'gpu' or 'cpu'; by default, what the machine and the installation look like they are for.

    Raises:
      UsageError: JAX would not use the accelerator that is expected, or does not start at all.
    """
    require(expect in ('', *PLATFORMS), '--expect', expect, f'choose one of: {", ".join(PLATFORMS)}')
    facts = collect()
    for line in describe(facts):
        say(line)
    failure, warnings = judge(facts, expect)
    for line in warnings:
        say(f'warning: {line}')
    if failure:
        raise UsageError(failure)
    say(f'ok: work runs on {facts["environment"]["platform"]}')
    return facts


def check_accelerator(expect: str = '') -> None:
    """Raises UsageError where JAX has fallen back to the CPU beside an accelerator; cheap, for the start of a run."""
    import jax

    settings: Any = jax.config
    where, why = expected(settings.jax_platforms, hints(), expect)
    if where not in ('cpu', '') and jax.default_backend() != where:
        failure, _ = judge(collect(), expect)
        raise UsageError(failure or f'JAX runs on {jax.default_backend()}, not on the {where} that {why}; {CHOSEN_CPU}')


def expected(platforms: str | None, found: Mapping[str, list[str]], expect: str = '') -> tuple[str, str]:
    """The platform that work should run on ('' if nothing speaks for one) and what says so."""
    if expect:
        return expect, 'was asked for'
    first = (platforms or '').split(',')[0].strip().lower()
    if first:
        return ACCELERATORS.get(first, first), f'JAX_PLATFORMS={platforms} asks for'
    for platform in ('tpu', 'gpu'):
        if found.get(platform):
            return platform, f'{" and ".join(found[platform])} shows'
    return '', ''


def judge(facts: Facts, expect: str = '') -> Verdict:
    """What is wrong, and whether it keeps work from where it belongs."""
    clashes = [line for check in CHECKS for line in check(facts)]
    where, why = expected(facts['jax_platforms'], facts['hints'], expect)
    if facts['error']:
        remedies = _missing(facts, where) + clashes or [_reinstall(facts, where)]
        return Verdict('; '.join([f'JAX does not start: {facts["error"]}', *remedies]), [])
    found = facts['environment']['platform']
    if not where or found == where:
        return Verdict('', clashes)
    remedies = _missing(facts, where) + clashes or [_reinstall(facts, where)]
    choice = '' if where == 'cpu' or expect else f'; {CHOSEN_CPU}'
    return Verdict(f'JAX runs on {found}, not on the {where} that {why}: {"; ".join(remedies)}{choice}', [])


def _clashing_versions(facts: Facts) -> list[str]:
    """Packages outside of what this version of JAX declares that it works with."""
    from packaging.specifiers import SpecifierSet

    lines = []
    for name, spec in facts['required'].items():
        have = facts['packages'].get(name)
        if have and not SpecifierSet(spec).contains(have, prereleases=True):
            remedy = _install(facts, f'jax[{_extra(name)}]' if name != 'jaxlib' else 'jax')
            lines.append(f'{name} {have} does not go with jax {facts["packages"].get("jax")}, which wants {spec}: {remedy}')
    return lines


def _several_cuda_plugins(facts: Facts) -> list[str]:
    both = [name for name in PARTNERS if name in facts['packages']]
    if len(both) < 2:
        return []
    return [f'{" and ".join(both)} are both installed and only one can work: pip uninstall -y {both[0]} {PARTNERS[both[0]]}']


def _torn_plugin(facts: Facts) -> list[str]:
    pairs = [(name, facts['packages'].get(name), facts['packages'].get(PARTNERS[name])) for name in PARTNERS]
    return [
        f'{name} {have} and {PARTNERS[name]} {other or "(missing)"} differ: {_install(facts, f"jax[{_extra(name)}]")}'
        for name, have, other in pairs
        if have and have != other
    ]


CHECKS = (_clashing_versions, _several_cuda_plugins, _torn_plugin)


def _missing(facts: Facts, where: str) -> list[str]:
    """The plugin of the platform is not installed."""
    if where not in EXTRAS or any(platform == where and name in facts['packages'] for name, platform in PLUGINS.items()):
        return []
    cause = 'jax was upgraded over the one that Colab came with, and ' if facts['colab'] else ''
    what = 'libtpu' if where == 'tpu' else 'a CUDA plugin'
    return [f'{cause}{what} is not installed: {_install(facts, f"jax[{EXTRAS[where]}]")}']


def _reinstall(facts: Facts, where: str) -> str:
    if where == 'cpu':
        return 'set JAX_PLATFORMS=cpu'
    advice = {
        'tpu': 'see that no other process holds the TPU',
        'gpu': 'see that nvidia-smi lists the GPU and its driver is recent',
    }
    extra = f'[{EXTRAS[where]}]' if where in EXTRAS else ''
    return '; '.join(part for part in (advice.get(where), _install(facts, f'jax{extra}')) if part)


def _install(facts: Facts, what: str) -> str:
    version = facts['packages'].get('jax')
    restart = ', then restart the runtime' if facts['colab'] else ''
    return f'pip install -U "{what}{f"=={version}" if version else ""}"{restart}'


def _extra(package: str) -> str:
    return 'tpu' if package == 'libtpu' else package.split('-')[1]


def collect() -> dict[str, Any]:
    """All that is to be known; starts the devices. Nothing raises: what fails is under `error`."""
    facts: dict[str, Any] = {
        'packages': versions(('lmjax', 'jax', 'jaxlib', *PLUGINS, *PARTNERS.values())),
        'required': _required(),
        'hints': hints(),
        'jax_platforms': os.environ.get('JAX_PLATFORMS', ''),
        'colab': importlib.util.find_spec('google') is not None and 'COLAB_RELEASE_TAG' in os.environ,
        'environment': {},
        'mesh': '',
        'caches': {},
        'error': '',
    }
    try:
        import jax

        settings: Any = jax.config
        facts['jax_platforms'] = settings.jax_platforms or ''
        facts['environment'] = environment()
        facts['mesh'] = _mesh(facts['environment']['device_count'])
        facts['caches'] = _caches()
    except Exception as error:  # whatever a broken installation raises is what the user came to learn
        facts['error'] = ' '.join(f'{type(error).__name__}: {error}'.split())[:300].rstrip(':')
        facts['environment'] = machine()
    return facts


def hints() -> dict[str, list[str]]:
    """Platform -> what on this machine speaks for it. No subprocess is started."""
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES')
    gpu = [name for name in ('/dev/nvidia0',) if os.path.exists(name)] or (['nvidia-smi'] if shutil.which('nvidia-smi') else [])
    tpu = [name for name in TPU_VARIABLES if os.environ.get(name)] + sorted(glob.glob('/dev/accel[0-9]*'))[:1] + _vfio()
    found = {'tpu': tpu, 'gpu': gpu if hidden not in ('', '-1') else []}
    for package, platform in PLUGINS.items():
        if not found[platform] and importlib.util.find_spec(package.replace('-', '_')) and hidden not in ('', '-1'):
            found[platform] = [f'the installed {package}']
    return found


def _vfio() -> list[str]:
    """Newer TPUs are PCI devices of Google under /dev/vfio; Google's network and storage devices are not meant."""
    if not glob.glob('/dev/vfio/[0-9]*'):
        return []
    for folder in map(Path, glob.glob('/sys/bus/pci/devices/*')):
        try:
            vendor, kind = (folder / 'vendor').read_text().strip(), (folder / 'class').read_text().strip()
        except OSError:
            continue
        if vendor == '0x1ae0' and not kind.startswith(('0x01', '0x02')):
            return ['/dev/vfio']
    return []


def _required() -> dict[str, str]:
    """Package -> the versions that the installed JAX declares, for jaxlib and the plugins."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    try:
        lines = metadata.requires('jax') or []
    except metadata.PackageNotFoundError:
        return found
    for requirement in map(Requirement, lines):
        if requirement.name in ('jaxlib', *PLUGINS):
            # The one without an extra comes first, and holds for everybody.
            found.setdefault(requirement.name, str(requirement.specifier))
    return found


def _mesh(count: int) -> str:
    from lmjax.parallel.config import MeshConfig
    from lmjax.parallel.mesh import AXES, mesh_shape

    shape = ', '.join(f'{axis} {size}' for axis, size in zip(AXES, mesh_shape(MeshConfig(), count), strict=True))
    return shape if count == 1 else f'{shape}; --config.mesh.data=-1 uses all {count} devices'


def _caches() -> dict[str, dict[str, Any]]:
    """The cache folders and what they hold, in bytes."""
    import jax

    from lmjax.caches import user_cache

    settings: Any = jax.config
    programs = settings.jax_compilation_cache_dir or str(user_cache('programs'))
    folders = {'token stores': str(user_cache('tokens')), 'compiled programs': programs}
    return {name: {'path': path, 'bytes': _size(path)} for name, path in folders.items()}


def _size(folder: str) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue  # another process deletes it meanwhile
    return total


def describe(facts: Facts) -> list[str]:
    """The facts as lines for a person."""
    where, packages = facts['environment'], facts['packages']
    plugins = [f'{name} {packages[name]}' for name in (*PLUGINS, *PARTNERS.values()) if name in packages]
    devices = (
        f'{where["device_count"]} x {where["device_kind"]} ({where["platform"]})' if 'platform' in where else 'none: JAX failed'
    )
    lines = {
        'python': where.get('python', ''),
        'jax': f'{packages.get("jax", "missing")}, jaxlib {packages.get("jaxlib", "missing")}',
        'plugins': ', '.join(plugins) or 'none (CPU only)',
        'devices': devices,
        'mesh': facts['mesh'],
        'machine': f'{where["cpu"]}, {where["cores"]} cores, {where["memory_gb"]} GB',
        **{name: f'{cache["path"]} ({cache["bytes"] / 1e6:,.1f} MB)' for name, cache in facts['caches'].items()},
    }
    return [f'{name + ":":<19}{text}' for name, text in lines.items() if text]
