import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { allCommands } from '../../src/all-commands.ts';
import { completionOf } from '../../src/output/completion.ts';

/** What bash would offer at the end of a line. */
async function offered(...line: string[]): Promise<string[]> {
  const words = ['drakkar', ...line].map((word) => `'${word}'`).join(' ');
  const script = `${completionOf('bash', await allCommands())}
COMP_WORDS=(${words}); COMP_CWORD=${line.length}; _drakkar; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).split('\n').filter(Boolean);
}

test('bash completes commands, what is done in a group, and options', async () => {
  expect(await offered('pre')).toEqual(['preheat']);
  expect(await offered('snapshot', 'b')).toEqual(['build']);
  expect(await offered('jobs', '')).toEqual(expect.arrayContaining(['show', 'cancel', '--limit', '--watch']));
  expect(await offered('preheat', 'registry.example/app:1', '--perc')).toEqual(['--percentage']);
  expect(await offered('jobs', 'show', 'x', '--w')).toEqual(['--watch']);
});

test('every shell is told of every command', async () => {
  const commands = (await allCommands()).filter(({ hidden }) => hidden !== true);
  for (const shell of ['bash', 'zsh', 'fish'] as const) {
    const text = completionOf(shell, commands);
    for (const { name } of commands) expect(text).toContain(name.split(' ').at(-1));
  }
});
