"""A conversation as the text that a network was taught to read: a checkpoint's chat template (Jinja), rendered in bounds.

Who publishes a checkpoint writes its template, so it is treated as a stranger's program: it runs in Jinja's sandbox, in a
process of its own that gets `SECONDS` of computing and `MEMORY` bytes. A message that spells a special token becomes that
token, as in transformers: remove such marks from messages that you do not trust.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lmjax.config import UsageError, choose, require

if TYPE_CHECKING:
    import numpy as np

    from lmjax.data.tokenizers import Tokenizer

DEFAULT, WITH_TOOLS = 'default', 'tool_use'  # names that transformers gives templates
SECONDS = 3  # of computing, starting Python included; a real template takes hundredths
PATIENCE = 60  # seconds by the clock, for a process that waits instead
MEMORY = 512 << 20  # bytes
MAX_CHARS = 4_000_000  # of rendered text
AT_ONCE = 200  # conversations that a process renders
UNTRUSTED = "do not trust this checkpoint's template"
# why the worker gave no text -> the line about it
FAILURES = {
    'refused': 'messages: the chat template refuses them ({}); change them accordingly',
    'forbidden': f'chat_template: reaches out of its sandbox ({{}}); {UNTRUSTED}',
    'exceeded': f'chat_template: asks for too much ({{}}); {UNTRUSTED}',
    'error': 'chat_template: cannot be rendered ({}); mend the template, or give messages as it expects them',
}
SHOWN = 300  # characters of what a template says of itself


class Chat(NamedTuple):
    """How a checkpoint writes conversations."""

    templates: Mapping[str, str]  # name -> Jinja
    tokens: Mapping[str, str]  # variable of a template -> special token: bos_token, eos_token, ...


def chat_ids(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Any] | None = None, template: str = ''
) -> np.ndarray:
    """A conversation as ids, int32, up to where the assistant's answer begins; the template's markers become their tokens.

    Raises:
      UsageError: the tokenizer has no template, or what `render_chat` refuses.
    """
    chat = need_chat('tokenizer', tokenizer)
    return tokenizer.encode_rendered(render_chat(chat, messages, tools=tools, template=template))


def need_chat(field: str, tokenizer: Tokenizer) -> Chat:
    """How a tokenizer's checkpoint writes conversations. Raises UsageError where it has no template."""
    if tokenizer.chat is None:
        remedy = 'has no chat template; use a checkpoint that was taught to chat, or a plain prompt'
        raise UsageError(f'{field}={tokenizer.kind!r}: {remedy}')
    return tokenizer.chat


def render_chat(
    chat: Chat,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Any] | None = None,
    template: str = '',
    add_generation_prompt: bool = True,
) -> str:
    """The text of a conversation, equal to that of transformers' `apply_chat_template`.

    Args:
      messages: each with 'role' and 'content', and what else the template reads.
      tools: JSON schemas of functions that the network may call.
      template: its name, where there are several; '': the one for tools if there are any and it exists, else the default.
      add_generation_prompt: whether the text ends with what opens the assistant's answer.

    Raises:
      UsageError: what are no messages, or none that the template takes; no such template, or one that cannot be rendered.
    """
    return render_chats(chat, [messages], tools=tools, template=template, add_generation_prompt=add_generation_prompt)[0]


def render_chats(
    chat: Chat,
    conversations: Sequence[Sequence[Mapping[str, Any]]],
    *,
    tools: Sequence[Any] | None = None,
    template: str = '',
    add_generation_prompt: bool = True,
) -> list[str]:
    """The texts of many conversations, as `render_chat` renders each."""
    name = template or (WITH_TOOLS if tools is not None and WITH_TOOLS in chat.templates else DEFAULT)
    jinja = choose(chat.templates, name, 'template')
    for messages in conversations:
        check_messages(messages)
    variables = [
        {
            **chat.tokens,
            'messages': [{key: value for key, value in message.items() if value is not None} for message in messages],
            'tools': None if tools is None else list(tools),
            'documents': None,
            'add_generation_prompt': add_generation_prompt,
        }
        for messages in conversations
    ]
    parts = (variables[begin : begin + AT_ONCE] for begin in range(0, len(variables), AT_ONCE))
    return [text for part in parts for text in render_bounded(jinja, part)]


def check_messages(messages: Any) -> None:
    """Raises UsageError unless they are a list of messages with a role and a content (or calls of tools instead of one)."""
    remedy = "give a list of messages such as {'role': 'user', 'content': 'text'}"
    require(isinstance(messages, list | tuple) and len(messages) > 0, 'messages', messages, remedy)
    for message in messages:
        sound = isinstance(message, Mapping) and isinstance(message.get('role'), str)
        sound = sound and (isinstance(message.get('content'), str | list) or 'tool_calls' in message)
        require(sound, 'messages', message, remedy)


def render_bounded(template: str, variables: Sequence[Mapping[str, Any]]) -> list[str]:
    """The texts of a template of unknown origin. Raises UsageError where it fails, or asks for too much."""
    try:
        task = json.dumps({'template': template, 'variables': list(variables), 'max_chars': MAX_CHARS})
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f'messages: {error}; only text, numbers, lists and dicts can be written') from error
    command = [sys.executable, '-P', '-m', 'lmjax.data.chat_worker', str(SECONDS), str(MEMORY)]
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(os.path.abspath, sys.path))}
    try:
        done = subprocess.run(command, input=task.encode(), capture_output=True, env=environment, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise UsageError(f'chat_template: not done after {PATIENCE} s; {UNTRUSTED}') from None
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise UsageError(f'chat_template: not done after {SECONDS} s of computing; {UNTRUSTED}')
    try:
        found = json.loads(done.stdout)
    except ValueError:
        why = (done.stderr.decode('utf-8', 'replace').splitlines() or [f'exit code {done.returncode}'])[-1]
        raise UsageError(f'chat_template: the process that renders it failed ({why}); {UNTRUSTED}') from None
    for kind, line in FAILURES.items():
        if kind in found:
            raise UsageError(line.format(' '.join(found[kind].split())[:SHOWN]))
    return found['texts']
