import { DrakkarError } from '@drakkar/errors';
import { type AnyCommand, defineCommand } from '../command-line/command.ts';
import { completionOf, SHELLS } from '../output/completion.ts';

/** `drakkar completion`: what a shell has to be told. */
export const commands: readonly AnyCommand[] = [
  defineCommand({
    name: 'completion',
    summary: 'print what bash, zsh or fish needs to complete commands and options',
    notes: 'The first line of what is printed says where it goes.',
    positionals: ['<shell>'],
    options: {},
    async run(context, [shell]) {
      const known = SHELLS.find((each) => each === shell);
      if (known === undefined)
        throw new DrakkarError(
          'invalid_argument',
          `${JSON.stringify(shell)} is none of ${SHELLS.join(', ')}`,
        );
      const { allCommands } = await import('../all-commands.ts');
      const text = completionOf(known, await allCommands());
      context.answer({ shell: known, completion: text }, text.trimEnd());
    },
  }),
];
