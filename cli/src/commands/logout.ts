import { defineCommand } from '../command-line/command.ts';
import { forgetLogin } from '../supernode-place.ts';

/** `drakkar logout` */
export const commands = [
  defineCommand({
    name: 'logout',
    summary: 'forget the supernode of `drakkar login`; its token stays good until it is revoked',
    positionals: [],
    options: {},
    async run(context) {
      const was = await forgetLogin();
      context.answer({ loggedOut: was }, was ? 'logged out' : 'nobody was logged in');
    },
  }),
];
