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
