import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { SupernodeClient } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { defineCommand } from '../command-line/command.ts';
import { formatAge } from '../output/format.ts';
import { keepLogin } from '../supernode-place.ts';

/** `drakkar login`: which supernode commands speak with. */
export const commands = [
  defineCommand({
    name: 'login',
    summary: 'speak with a supernode elsewhere from now on; the token comes from stdin or a file',
    notes:
      '`drakkar token create` makes a token, on the supernode’s host or by whoever has one already.\n' +
      'A supernode with a certificate of its own says its pin there when it starts, and in `drakkar supernode status`.',
    positionals: ['<url>'],
    options: {
      'token-file': { value: 'file', summary: 'read the token from there' },
      pin: {
        value: 'sha256:…',
        summary: 'the key that it must have in TLS; else its certificate must be a trusted one',
      },
      insecure: {
        summary: 'send the token over plain HTTP to another host, where anybody in between reads it',
      },
    },
    async run(context, [url], flags) {
      if (!URL.canParse(url)) throw new DrakkarError('invalid_argument', `${JSON.stringify(url)} is no URL`);
      const { origin } = new URL(url);
      if (isReadable(new URL(url)) && !flags.insecure) {
        throw new DrakkarError(
          'invalid_argument',
          `${origin} is plain HTTP: anybody in between reads the token`,
          {
            hint: 'give the supernode a certificate (api.tls) and use https://, or say --insecure',
          },
        );
      }
      if (flags.pin !== undefined && !PIN.test(flags.pin))
        throw new DrakkarError('invalid_argument', `${JSON.stringify(flags.pin)} is no pin`, {
          hint: 'it is sha256: and 64 hex digits, as `drakkar supernode status` shows it',
        });
      const path = flags['token-file'];
      if (path === undefined && process.stdin.isTTY) context.say('paste the token, then Ctrl-D:');
      const token = (path === undefined ? await text(process.stdin) : await readFile(path, 'utf8')).trim();
      if (token === '')
        throw new DrakkarError('invalid_argument', 'there is no token', {
          hint: 'make one with `drakkar token create`, and give it on standard input',
        });
      const login = { url: origin, token, ...(flags.pin === undefined ? {} : { pin: flags.pin }) };
      const { signal } = context;
      const client = new SupernodeClient(login);
      const { version, hosts } = await client.status({ signal });
      const { name, role, expiresAtMs } = await client.whoAmI({ signal });
      const kept = await keepLogin(login);
      const ends = expiresAtMs === null ? '' : ` for ${formatAge(expiresAtMs - Date.now())}`;
      context.answer(
        { url: origin, version, hosts, name, role, expiresAtMs },
        `logged in to ${origin} as ${name}, ${role}${ends}; version ${version}, ${hosts} hosts connected; kept in ${kept}`,
      );
    },
  }),
];

const PIN = /^sha256:[0-9a-f]{64}$/;

/** What is sent there goes over a network as it is. Exported for its tests. */
export const isReadable = ({ protocol, hostname }: URL): boolean =>
  protocol !== 'https:' && !/^(?:127(?:\.\d+){3}|\[::1\]|(?:[^.]+\.)*localhost)$/.test(hostname);
