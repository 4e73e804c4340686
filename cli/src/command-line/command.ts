import type { Context } from '../context.ts';

/** An option of a command; its name is its key. */
export interface OptionSpec {
  readonly summary: string;
  /** One letter. */
  readonly short?: string;
  /** How its value is called in the help; without one it is a switch. */
  readonly value?: string;
  /** May be given several times. */
  readonly multiple?: true;
  readonly required?: true;
  readonly default?: string;
  readonly choices?: readonly string[];
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type FlagOf<Spec extends OptionSpec> = Spec extends { value: string }
  ? Spec extends { multiple: true }
    ? string[]
    : Spec extends { required: true } | { default: string }
      ? string
      : string | undefined
  : boolean;

/** What the options of a command line say. */
export type Flags<Specs extends OptionSpecs> = { readonly [Name in keyof Specs]: FlagOf<Specs[Name]> };

/** `<required>`, `[optional]`, and as the last one `[any number...]`. */
export type PositionalSpec = `<${string}>` | `[${string}]`;

type PositionalOf<Spec> = Spec extends `[${string}...]`
  ? string[]
  : Spec extends `<${string}>`
    ? string
    : string | undefined;

/** What stands beside the options, in order. */
export type Positionals<Specs extends readonly PositionalSpec[]> = {
  readonly [Index in keyof Specs]: PositionalOf<Specs[Index]>;
};

export interface Command<
  Specs extends OptionSpecs = OptionSpecs,
  Places extends readonly PositionalSpec[] = readonly PositionalSpec[],
> {
  /** One word, or two: a group and what is done in it. */
  readonly name: string;
  readonly summary: string;
  /** More than fits the list of all commands. */
  readonly notes?: string;
  readonly positionals: Places;
  readonly options: Specs;
  /** Not in the list of all commands. */
  readonly hidden?: true;
  run(context: Context, positionals: Positionals<Places>, flags: Flags<Specs>): Promise<void>;
}

/** A command as the program sees it: its parser has made sure that the values are what it takes. */
// biome-ignore lint/suspicious/noExplicitAny: which values belong to which command is known where it is defined
export type AnyCommand = Command<any, any>;

/** Lets the compiler find out the types of a command's values. */
export function defineCommand<
  const Specs extends OptionSpecs,
  const Places extends readonly PositionalSpec[],
>(command: Command<Specs, Places>): AnyCommand {
  return command;
}

/** Of every command that takes an image. */
export const PLATFORM = { value: 'os/arch', summary: 'platform to choose from an index' } as const;

/** Options that every command takes, before its name or after it. */
export const GLOBAL_OPTIONS = {
  config: { value: 'file', summary: 'configuration file (default: /etc/drakkar/config.yaml)' },
  socket: {
    value: 'path',
    summary: 'admin socket of the daemon (default: from the configuration, or $DRAKKAR_SOCKET)',
  },
  json: { summary: 'results as JSON on stdout: one object, or one a line' },
  help: { short: 'h', summary: 'say what there is' },
  version: { short: 'V', summary: 'print the version' },
} as const satisfies OptionSpecs;

export type GlobalFlags = Flags<typeof GLOBAL_OPTIONS>;
