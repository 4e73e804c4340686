import { DEFAULT_CONFIG_PATH, DEFAULT_SUPERNODE_CONFIG_PATH } from '@drakkar/client';

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
    : ValueOf<Spec> | (Spec extends { required: true } | { default: string } ? never : undefined)
  : boolean;

type ValueOf<Spec extends OptionSpec> = Spec extends { choices: readonly (infer Choice)[] } ? Choice : string;

/** What the options of a command line say. */
export type Flags<Specs extends OptionSpecs> = { readonly [Name in keyof Specs]: FlagOf<Specs[Name]> };

/** Of every command that takes an image. */
export const PLATFORM = { value: 'os/arch', summary: 'platform to choose from an index' } as const;

/** Options that every command takes, before its name or after it. */
export const GLOBAL_OPTIONS = {
  config: { value: 'file', summary: `configuration file (default: ${DEFAULT_CONFIG_PATH})` },
  socket: {
    value: 'path',
    summary: 'admin socket of the daemon (default: from the configuration, or $DRAKKAR_SOCKET)',
  },
  json: { summary: 'results as JSON on stdout: one object, or one a line' },
  help: { short: 'h', summary: 'say what there is' },
  version: { short: 'V', summary: 'print the version' },
} as const satisfies OptionSpecs;

const { socket: _, ...WITHOUT_SOCKET } = GLOBAL_OPTIONS;

/** What of them commands of the supernode go by. */
export const SUPERNODE_OPTIONS = {
  ...WITHOUT_SOCKET,
  config: {
    value: 'file',
    summary: `configuration file of the supernode (default: ${DEFAULT_SUPERNODE_CONFIG_PATH})`,
  },
} as const satisfies OptionSpecs;

export type GlobalFlags = Flags<typeof GLOBAL_OPTIONS>;
