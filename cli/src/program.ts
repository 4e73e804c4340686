/** From a command line to what is done: wiring only. A command's code is loaded when it is named. */
import { DrakkarError, toDrakkarError } from '@drakkar/errors';
import { allCommands, COMMANDS } from './all-commands.ts';
import type { AnyCommand } from './command-line/command.ts';
import type { GlobalFlags } from './command-line/options.ts';
import { commandWords, parseCommandLine } from './command-line/parse.ts';
import { contextOf, EXIT_CODES, reportError } from './context.ts';
import { untilInterrupted } from './interrupt.ts';

async function runProgram(args: readonly string[]): Promise<void> {
  const help = commandWords(args).find(({ word }, position) => position === 0 && word === 'help');
  const line = help === undefined ? args : ['--help', ...args.toSpliced(help.index, 1)];
  const words = commandWords(line);
  const [first, second] = words;
  const load = first && Object.hasOwn(COMMANDS, first.word) ? COMMANDS[first.word] : undefined;
  const commands = (await load?.())?.commands ?? [];
  const named = (name: string | undefined) => commands.find((each) => each.name === name);
  const command = named(`${first?.word} ${second?.word}`) ?? named(first?.word);
  if (command === undefined) return await withoutCommand(line, words, commands.length > 0);

  const naming = words.slice(0, command.name.split(' ').length).map(({ index }) => index);
  const rest = line.filter((_, index) => !naming.includes(index));
  try {
    const { global, flags, positionals } = parseCommandLine(command, rest);
    if (global.help || global.version) return await explain(global, command);
    await command.run(contextOf(global, untilInterrupted()), positionals, flags);
  } catch (cause) {
    const code = fail(cause);
    // Every other code is the container's own.
    if (command.name === 'run' && code !== EXIT_CODES.cancelled) process.exitCode = 125;
  }
}

/** `drakkar`, `drakkar --help`, `drakkar snapshot`, `drakkar frobnicate`. */
async function withoutCommand(
  args: readonly string[],
  words: readonly { readonly word: string }[],
  isGroup: boolean,
): Promise<void> {
  const { global } = parseCommandLine({ name: '', options: {}, positionals: ['[words...]'] }, args);
  if (global.version) return await explain(global);
  const all = await allCommands();
  const { programHelp } = await import('./command-line/help.ts');
  const [first] = words;
  const help = programHelp(all, isGroup ? first?.word : undefined);
  const named = words.length > (isGroup ? 1 : 0);
  if (global.help && !named) {
    print(global.json, { help }, help);
    return;
  }
  process.stderr.write(`${help}\n\n`);
  const name = (isGroup ? words : words.slice(0, 1)).map(({ word }) => word).join(' ');
  throw new DrakkarError(
    'invalid_argument',
    named ? `there is no command ${JSON.stringify(name)}` : 'say what to do',
  );
}

async function explain({ version, json }: GlobalFlags, command?: AnyCommand): Promise<void> {
  if (version || command === undefined) {
    const { default: document } = await import('../package.json', { with: { type: 'json' } });
    print(json, { version: document.version }, document.version);
    return;
  }
  const { commandHelp } = await import('./command-line/help.ts');
  const help = commandHelp(command);
  print(json, { help }, help);
}

function print(json: boolean, document: object, text: string): void {
  process.stdout.write(`${json ? JSON.stringify(document) : text}\n`);
}

function fail(cause: unknown): number {
  // Who wrote there got it too.
  if (cause === outputError && process.exitCode !== undefined) return Number(process.exitCode);
  const end = args.indexOf('--');
  const json = args.slice(0, end < 0 ? args.length : end).includes('--json');
  const code = EXIT_CODES[reportError(cause, json).code];
  process.exitCode = code;
  return code;
}

/** A reader that has left, as `head` does, is no error; a full disk is. */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' || process.exitCode !== undefined) return;
  outputError = error;
  process.exitCode = EXIT_CODES[toDrakkarError(error, 'unavailable').code];
  process.stderr.write(`drakkar: the output can't be written: ${error.message}\n`);
}

const args = process.argv.slice(2);
/** What has been said of stdout. */
let outputError: Error | undefined;
process.stdout.on('error', onOutputError);
// Whoever can't be told goes on all the same.
process.stderr.on('error', () => {});
await runProgram(args).catch(fail);
