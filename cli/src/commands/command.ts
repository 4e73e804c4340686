import type { Command } from 'commander';
import type { Context } from '../context.ts';

/** Gives a command's action its context, and reports what it throws. */
export type Run = <Args extends unknown[]>(
  action: (context: Context, ...args: Args) => Promise<void>,
) => (...args: Args) => Promise<void>;

/** Adds a command to the program. */
export type AddCommand = (program: Command, run: Run) => void;
