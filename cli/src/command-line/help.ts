import type { AnyCommand } from './command.ts';
import { GLOBAL_OPTIONS, type OptionSpec, type OptionSpecs, SUPERNODE_OPTIONS } from './options.ts';

/** How one command is used. Pure. */
export function commandHelp(command: AnyCommand): string {
  const { name, positionals, options, summary, notes, configures } = command;
  return [
    `usage: drakkar ${[name, '[options]', ...positionals].join(' ')}`,
    '',
    summary,
    ...(notes === undefined ? [] : [notes]),
    '',
    columns(optionRows({ ...options, ...globalOptionsOf([configures]) })),
  ].join('\n');
}

/** What there is; of a group, where `group` is given. Pure. */
export function programHelp(commands: readonly AnyCommand[], group?: string): string {
  const listed = commands.filter(
    ({ name, hidden }) => hidden !== true && (group === undefined || name.startsWith(`${group} `)),
  );
  return [
    `usage: drakkar ${group === undefined ? '' : `${group} `}<command> [options]`,
    '',
    columns(
      listed.map(({ name, positionals, summary }) => [[name, ...positionals].join(' '), summary] as const),
    ),
    '',
    columns(optionRows(globalOptionsOf(listed.map(({ configures }) => configures)))),
    '',
    'drakkar <command> --help says what a command takes.',
  ].join('\n');
}

/** Where all commands mean the supernode's file, the options say so. */
function globalOptionsOf(configured: readonly AnyCommand['configures'][]): OptionSpecs {
  return configured.every((each) => each === 'supernode') ? SUPERNODE_OPTIONS : GLOBAL_OPTIONS;
}

function optionRows(options: OptionSpecs): (readonly [string, string])[] {
  return Object.entries(options).map(([name, option]) => [optionUsage(name, option), optionSummary(option)]);
}

function optionUsage(name: string, { short, value, choices }: OptionSpec): string {
  const what = choices?.join('|') ?? value;
  return `${short === undefined ? '    ' : `-${short}, `}--${name}${what === undefined ? '' : ` <${what}>`}`;
}

function optionSummary(option: OptionSpec): string {
  if (option.default !== undefined) return `${option.summary} (default: ${option.default})`;
  return option.required ? `${option.summary} (required)` : option.summary;
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n');
}
