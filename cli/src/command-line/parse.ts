import { DrakkarError, errnoOf } from '@drakkar/errors';
import type { AnyCommand, AnyFlags, AnyPositionals, PositionalSpec } from './command.ts';
import { GLOBAL_OPTIONS, type GlobalFlags, type OptionSpec, type OptionSpecs } from './options.ts';

// As an import it would have every getter of the module evaluated.
const { parseArgs } = process.getBuiltinModule('node:util');

/** The words of a command line that may name its command, and where they stand: the first two that are no option's. */
export function commandWords(args: readonly string[]): { readonly word: string; readonly index: number }[] {
  const words: { word: string; index: number }[] = [];
  for (let index = 0; index < args.length && words.length < 2; index += 1) {
    const arg = args[index] ?? '';
    if (arg === '--') break;
    if (!arg.startsWith('-')) words.push({ word: arg, index });
    else if (takesValue(arg)) index += 1;
  }
  return words;
}

function takesValue(arg: string): boolean {
  const name = arg.slice(2);
  return arg.startsWith('--') && Object.hasOwn(GLOBAL_OPTIONS, name) && 'value' in globalOption(name);
}

const globalOption = (name: string): OptionSpec => GLOBAL_OPTIONS[name as keyof typeof GLOBAL_OPTIONS];

export interface ParsedCommandLine {
  readonly global: GlobalFlags;
  readonly flags: AnyFlags;
  readonly positionals: AnyPositionals;
}

/**
 * Reads what stands on a command line beside the command's name.
 *
 * @throws `invalid_argument` for what the command does not take, and for what it misses
 */
export function parseCommandLine(
  command: Pick<AnyCommand, 'name' | 'options' | 'positionals' | 'servesSocket'>,
  args: readonly string[],
): ParsedCommandLine {
  const { values, positionals } = parsed(command.name, { ...GLOBAL_OPTIONS, ...command.options }, args);
  const { config, socket, json = false, help = false, version = false } = values;
  for (const [name, value] of Object.entries({ config, socket })) {
    if (value === '') throw refuse(command.name, `--${name} is empty`);
  }
  if (command.servesSocket && socket !== undefined) {
    throw refuse(command.name, '--socket is for those that ask a daemon; its own is in its stateDirectory');
  }
  const global = { config, socket, json, help, version } as GlobalFlags;
  // Who asks for help need not know yet what else is needed.
  if (global.help || global.version) return { global, flags: {}, positionals: [] };
  const flags = Object.fromEntries(
    Object.entries(command.options).map(([name, spec]) => [
      name,
      flagOf(command.name, name, spec, values[name]),
    ]),
  );
  return { global, flags, positionals: arrange(command.name, command.positionals, positionals) };
}

type Values = Record<string, string | boolean | (string | boolean)[] | undefined>;

function parsed(
  command: string,
  specs: OptionSpecs,
  args: readonly string[],
): { values: Values; positionals: string[] } {
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { value, short, multiple = false }]) => [
      name,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        multiple,
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (cause) {
    if (!errnoOf(cause)?.startsWith('ERR_PARSE_ARGS')) throw cause;
    // The rest of its words is about what to do, and wrong where an option is only misspelt.
    const [message = ''] = (cause instanceof Error ? cause.message : String(cause)).split('. To specify');
    throw refuse(command, message);
  }
}

function flagOf(
  command: string,
  name: string,
  spec: OptionSpec,
  given: Values[string],
): string | boolean | string[] | undefined {
  if (spec.value === undefined) return given === true;
  if (spec.multiple) return (given ?? []) as string[];
  const value = (given ?? spec.default) as string | undefined;
  if (value === undefined && spec.required) throw refuse(command, `--${name} <${spec.value}> is missing`);
  if (value !== undefined && spec.choices?.includes(value) === false) {
    throw refuse(command, `--${name} is one of ${spec.choices.join(', ')}, not ${JSON.stringify(value)}`);
  }
  return value;
}

function arrange(
  command: string,
  specs: readonly PositionalSpec[],
  given: readonly string[],
): AnyPositionals {
  const rest = [...given];
  const values = specs.map((spec) => {
    if (spec.endsWith('...]')) return rest.splice(0);
    if (spec.startsWith('<') && rest.length === 0) throw refuse(command, `${spec} is missing`);
    return rest.shift();
  });
  if (rest.length > 0) throw refuse(command, `too many arguments, from ${JSON.stringify(rest[0])} on`);
  return values;
}

function refuse(command: string, message: string): DrakkarError {
  const see = ['see:', 'drakkar', command, '--help'].filter(Boolean).join(' ');
  const own = command === 'run' ? '; what is for the container goes after --' : '';
  return new DrakkarError('invalid_argument', message, { hint: see + own });
}
