/** From a command line to what is done: wiring only. A command's code is loaded when it is named. */
import { DrakkarError } from '@drakkar/errors';
import type { AnyCommand } from './command-line/command.ts';
import { commandWords, parseCommandLine } from './command-line/parse.ts';
import { contextOf, EXIT_CODES, reportError } from './context.ts';
import { untilInterrupted } from './interrupt.ts';

/** By the first word of their names. */
const COMMANDS: Readonly<Record<string, () => Promise<{ readonly commands: readonly AnyCommand[] }>>> = {
  up: () => import('./commands/up.ts'),
  daemon: () => import('./commands/daemon.ts'),
  pull: () => import('./commands/pull.ts'),
  run: () => import('./commands/run.ts'),
  snapshot: () => import('./commands/snapshot.ts'),
  blobs: () => import('./commands/blobs.ts'),
  config: () => import('./commands/config.ts'),
  doctor: () => import('./commands/doctor.ts'),
};

async function runProgram(args: readonly string[]): Promise<void> {
  const help = commandWords(args).find(({ word }, position) => position === 0 && word === 'help');
  const line = help === undefined ? args : ['--help', ...args.toSpliced(help.index, 1)];
  const words = commandWords(line);
  const [first, second] = words;
  const load = first && Object.hasOwn(COMMANDS, first.word) ? COMMANDS[first.word] : undefined;
  const commands = (await load?.())?.commands ?? [];
  const twoWords = `${first?.word} ${second?.word}`;
  const command = commands.find(({ name }) => name === twoWords || name === first?.word);
  if (command === undefined) return await withoutCommand(line, words, commands.length > 0);

  const named = words.slice(0, command.name.split(' ').length).map(({ index }) => index);
  const { global, flags, positionals } = parseCommandLine(
    command,
    line.filter((_, index) => !named.includes(index)),
  );
  if (global.help || global.version) return await explain(global.version, command);
  const context = contextOf(global, untilInterrupted());
  try {
    await command.run(context, positionals, flags);
  } catch (cause) {
    const error = reportError(cause, context.json);
    process.exitCode = command.name === 'run' && error.code !== 'cancelled' ? 125 : EXIT_CODES[error.code];
  }
}

/** `drakkar`, `drakkar --help`, `drakkar snapshot`, `drakkar frobnicate`. */
async function withoutCommand(
  args: readonly string[],
  words: readonly { readonly word: string }[],
  isGroup: boolean,
): Promise<void> {
  const { global } = parseCommandLine({ name: '', options: {}, positionals: ['[words...]'] }, args);
  if (global.version) return await explain(true);
  const all = await Promise.all(Object.values(COMMANDS).map(async (load) => (await load()).commands));
  const { programHelp } = await import('./command-line/help.ts');
  const [first] = words;
  const help = programHelp(all.flat(), isGroup ? first?.word : undefined);
  const named = words.length > (isGroup ? 1 : 0);
  if (global.help && !named) {
    process.stdout.write(`${help}\n`);
    return;
  }
  process.stderr.write(`${help}\n\n`);
  const name = (isGroup ? words : words.slice(0, 1)).map(({ word }) => word).join(' ');
  throw new DrakkarError(
    'invalid_argument',
    named ? `there is no command ${JSON.stringify(name)}` : 'say what to do',
  );
}

async function explain(version: boolean, command?: AnyCommand): Promise<void> {
  if (version || command === undefined) {
    const { default: document } = await import('../package.json', { with: { type: 'json' } });
    process.stdout.write(`${document.version}\n`);
    return;
  }
  const { commandHelp } = await import('./command-line/help.ts');
  process.stdout.write(`${commandHelp(command)}\n`);
}

const args = process.argv.slice(2);
try {
  await runProgram(args);
} catch (cause) {
  const end = args.indexOf('--');
  const error = reportError(cause, args.slice(0, end < 0 ? args.length : end).includes('--json'));
  process.exitCode = EXIT_CODES[error.code];
}
