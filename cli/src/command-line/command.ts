import type { Context } from '../context.ts';
import type { Flags, OptionSpecs } from './options.ts';

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
  /** Whose file `--config` names; the daemon's when absent. */
  readonly configures?: 'supernode';
  /** The admin socket is its own, in the state directory: it goes by no `--socket`. */
  readonly servesSocket?: true;
  /** Not in the list of all commands. */
  readonly hidden?: true;
  run(context: Context, positionals: Positionals<Places>, flags: Flags<Specs>): Promise<void>;
}

/** What a command line says of one command, before anybody knows which values belong to it. */
export type AnyPositionals = readonly (string | string[] | undefined)[];
export type AnyFlags = Readonly<Record<string, string | boolean | string[] | undefined>>;

/** A command as the program sees it: its parser makes sure that the values are what it takes. */
export interface AnyCommand extends Omit<Command, 'run'> {
  run(context: Context, positionals: AnyPositionals, flags: AnyFlags): Promise<void>;
}

/** Lets the compiler find out the types of a command's values. */
export function defineCommand<
  const Specs extends OptionSpecs,
  const Places extends readonly PositionalSpec[],
>(command: Command<Specs, Places>): AnyCommand {
  return command;
}
